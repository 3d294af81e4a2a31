//! Opens the page where somebody can see it.

use std::process::{Command, Stdio};

/// Tries to open an address in a browser, if there is a display; whether that works is of no consequence.
pub(super) fn open(address: &str) {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let opener = if cfg!(target_os = "macos") {
        "open"
    } else if is_set("DISPLAY") || is_set("WAYLAND_DISPLAY") {
        "xdg-open"
    } else {
        return;
    };
    let mut command = Command::new(opener);
    command.arg(address).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if let Ok(mut opening) = command.spawn() {
        // Somebody has to hear that it has ended.
        std::thread::spawn(move || opening.wait());
    }
}
