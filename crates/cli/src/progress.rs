//! One line of progress below the table: on a terminal only, and never in the way of what is printed.

use std::io::{IsTerminal, Write};

use crate::terminal;

/// The line, if there is a terminal to show it on.
#[derive(Debug)]
pub(crate) struct Progress {
    enabled: bool,
    shown: bool,
}

impl Progress {
    /// Progress on standard error; off where `wanted` is false or nobody would see it.
    pub(crate) fn new(wanted: bool) -> Self {
        Self {
            enabled: wanted && std::io::stderr().is_terminal(),
            shown: false,
        }
    }

    /// Is there anyone to see it?
    pub(crate) fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// Replaces the line.
    pub(crate) fn show(&mut self, text: &str) {
        if self.enabled {
            let width = terminal::width().unwrap_or(80);
            eprint!("\r\x1b[K{}", terminal::fit(text, width - 1));
            self.shown = true;
            let _ = std::io::stderr().flush();
        }
    }

    /// Removes the line; call before anything else is printed.
    pub(crate) fn clear(&mut self) {
        if core::mem::take(&mut self.shown) {
            eprint!("\r\x1b[K");
            let _ = std::io::stderr().flush();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}
