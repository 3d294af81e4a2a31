//! What to do about an error of the system.

use std::io::{self, ErrorKind};

/// Whether no more files can be open at a time, by the process or on the machine. No kind has these.
pub(crate) fn lacks_handles(error: &io::Error) -> bool {
    cfg!(unix) && matches!(error.raw_os_error(), Some(24 | 23))
}

/// What helps against an error, as the end of its message; nothing where nobody knows.
pub(crate) fn advice(error: &io::Error) -> &'static str {
    if lacks_handles(error) {
        return "; raise the limit of open files (ulimit -n)";
    }
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::IsADirectory => {
            "; check the path"
        }
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => "; check its permissions",
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "; make free space",
        ErrorKind::FileTooLarge => "; raise the limit of a file's size (ulimit -f)",
        ErrorKind::InvalidFilename => "; choose a shorter name",
        ErrorKind::StaleNetworkFileHandle => "; run again when the network disk is there",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn advice_is_given_where_it_helps() {
        for (code, expected) in [
            (2, "path"),
            (13, "permissions"),
            (23, "ulimit -n"),
            (24, "ulimit -n"),
            (27, "ulimit -f"),
            (28, "space"),
            (30, "permissions"),
            (36, "shorter"),
            (116, "network"),
            (122, "space"),
        ] {
            let found = advice(&io::Error::from_raw_os_error(code));
            assert!(found.contains(expected), "{code}: {found}");
        }
        assert_eq!(advice(&io::Error::from_raw_os_error(5)), "", "a broken disk");
    }
}
