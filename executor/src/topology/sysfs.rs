//! The text formats of sysfs, procfs and cgroup files. Pure: text in, values out.

/// More than any kernel can be built for; keeps a wrong range from filling memory.
const CORE_MAX: usize = 65_536;

/// Parses a list such as `0-3,8`; `None` when it is not one. An empty list is a list.
pub(super) fn parse_cpu_list(text: &str) -> Option<Vec<usize>> {
    let text = text.trim();
    let mut cores = Vec::new();
    for part in text.split(',').filter(|_| !text.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let first = parse_number(first)?;
        let last = parse_number(last)?;
        if first > last || last >= CORE_MAX {
            return None;
        }
        cores.extend(first..=last);
    }
    cores.sort_unstable();
    cores.dedup();
    Some(cores)
}

/// Parses one decimal number with white space around it.
pub(super) fn parse_number(text: &str) -> Option<usize> {
    text.trim().parse().ok()
}

/// Parses a cgroup v2 `cpu.max`, `QUOTA PERIOD` or `max PERIOD`, into a number of whole cores.
pub(super) fn parse_cpu_max(text: &str) -> Option<usize> {
    let (quota, period) = text.trim().split_once(' ')?;
    cores_of_quota(quota, period)
}

/// Turns a quota per period into whole cores, rounded up; `None` when unlimited (`max`, or -1 as
/// cgroup v1 writes it) or malformed.
pub(super) fn cores_of_quota(quota: &str, period: &str) -> Option<usize> {
    let quota = parse_number(quota)?;
    let period = parse_number(period).filter(|period| *period > 0)?;
    Some(quota.div_ceil(period).max(1))
}

/// Where a process is in the cgroup hierarchies, from `/proc/self/cgroup`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct CgroupPaths<'a> {
    /// The path in the unified (v2) hierarchy.
    pub(super) unified: Option<&'a str>,
    /// The path in the v1 hierarchy that has the `cpu` controller.
    pub(super) cpu: Option<&'a str>,
}

/// Parses lines of `ID:CONTROLLERS:PATH`.
pub(super) fn parse_cgroup_paths(text: &str) -> CgroupPaths<'_> {
    let mut paths = CgroupPaths::default();
    for line in text.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(id), Some(controllers), Some(path)) =
            (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        if id == "0" && controllers.is_empty() {
            paths.unified = Some(path);
        } else if controllers.split(',').any(|controller| controller == "cpu") {
            paths.cpu = Some(path);
        }
    }
    paths
}

#[cfg(test)]
mod tests {
    use super::{CgroupPaths, cores_of_quota, parse_cgroup_paths, parse_cpu_list, parse_cpu_max};

    #[test]
    fn cpu_lists() {
        let cases: [(&str, Option<&[usize]>); 10] = [
            ("0-3,8\n", Some(&[0, 1, 2, 3, 8])),
            ("5", Some(&[5])),
            ("8,0-1,1", Some(&[0, 1, 8])),
            ("\n", Some(&[])),
            ("3-1", None),
            ("0,,1", None),
            ("a", None),
            ("-1", None),
            ("0-", None),
            ("0-99999999999", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_cpu_list(text).as_deref(), expected, "{text:?}");
        }
    }

    #[test]
    fn quotas_round_up_to_whole_cores() {
        assert_eq!(parse_cpu_max("max 100000\n"), None);
        assert_eq!(parse_cpu_max("150000 100000\n"), Some(2));
        assert_eq!(parse_cpu_max("200000 100000"), Some(2));
        assert_eq!(parse_cpu_max("1000 100000"), Some(1));
        assert_eq!(parse_cpu_max("1000 0"), None);
        assert_eq!(parse_cpu_max(""), None);
        assert_eq!(cores_of_quota("-1\n", "100000\n"), None);
        assert_eq!(cores_of_quota("250000\n", "100000\n"), Some(3));
    }

    #[test]
    fn cgroup_paths() {
        assert_eq!(
            parse_cgroup_paths("0::/user.slice/a:b\n"),
            CgroupPaths {
                unified: Some("/user.slice/a:b"),
                cpu: None
            }
        );
        assert_eq!(
            parse_cgroup_paths("4:cpu,cpuacct:/docker/x\n3:cpuset:/y\nnonsense\n0::/\n"),
            CgroupPaths {
                unified: Some("/"),
                cpu: Some("/docker/x")
            }
        );
    }
}
