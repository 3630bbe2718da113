//! How many cases the properties of plan and order are tried on.

use proptest::test_runner::Config;

/// `BLOBIO_PROPTEST_CASES`, or a few hundred.
pub(crate) fn config() -> Config {
    let cases = std::env::var("BLOBIO_PROPTEST_CASES").map_or(300, |text| {
        text.parse().expect("BLOBIO_PROPTEST_CASES is a number")
    });
    Config::with_cases(cases)
}
