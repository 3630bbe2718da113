//! Which backend a worker runs on: the program's choice, then the environment's, then what the system
//! allows; and how that is told.

mod support;

use corelane::{Backend, BackendChoice, Config, SetupError, ThreadsReason, Worker};

use support::{child_with, is_child};

fn threads() -> Config {
    Config::new().backend(BackendChoice::Threads)
}

#[test]
fn the_choice_and_its_reason_are_visible() {
    let backend = Worker::new(threads()).unwrap().backend().unwrap();
    assert_eq!(backend, Backend::Threads(ThreadsReason::Configured));
    assert_eq!(backend.to_string(), "threads and epoll (as configured)");
}

#[test]
fn the_environment_decides_where_the_program_does_not() {
    if !is_child() {
        for (value, expected) in [
            ("threads", "threads"),
            ("", ""),
            ("auto", ""),
            ("URING", ""),
        ] {
            let test = "the_environment_decides_where_the_program_does_not";
            let (status, stderr) = child_with(test, |command| {
                command.env("CORELANE_BACKEND", value);
                command.env("EXPECTED", expected);
            });
            assert!(status.success(), "{value}: {stderr}");
        }
        return;
    }
    let value = std::env::var("CORELANE_BACKEND").unwrap();
    let made = Worker::new(Config::new());
    match value.as_str() {
        "threads" => {
            let backend = made.unwrap().backend().unwrap();
            assert_eq!(backend, Backend::Threads(ThreadsReason::Environment));
            assert_eq!(
                backend.to_string(),
                "threads and epoll (as CORELANE_BACKEND says)"
            );
            // The program's own choice comes first.
            match Worker::new(Config::new().backend(BackendChoice::Uring)) {
                Ok(worker) => assert!(matches!(worker.backend(), Some(Backend::Uring(_)))),
                Err(error) => assert!(error.to_string().contains("io_uring"), "{error}"),
            }
        }
        "URING" => {
            let error = made.unwrap_err();
            assert!(matches!(error, SetupError::Environment { .. }), "{error}");
            assert_eq!(
                error.to_string(),
                "the environment variable CORELANE_BACKEND is \"URING\", but must be auto, uring \
                 or threads"
            );
            assert!(Worker::new(threads()).is_ok());
        }
        _ => {
            let backend = made.unwrap().backend().unwrap();
            assert_ne!(backend, Backend::Threads(ThreadsReason::Environment));
        }
    }
}
