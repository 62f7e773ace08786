//! Standard input of the simulator: orders, typed on a terminal or piped in.
//!
//! A process in the background that reads its terminal is stopped by it (SIGTTIN), and all its
//! instruments with it. So a terminal is read only while this process is in the foreground and a
//! line waits there; started with `&`, it goes on, and takes orders after `fg`.

use std::io::BufRead;

/// Where orders come from.
#[cfg(unix)]
pub(crate) fn input() -> impl BufRead {
    std::io::BufReader::new(terminal::Foreground)
}

/// Where orders come from.
#[cfg(not(unix))]
pub(crate) fn input() -> impl BufRead {
    std::io::stdin().lock()
}

#[cfg(unix)]
mod terminal {
    use std::io::{IsTerminal as _, Read};

    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::io::Errno;
    use rustix::process::getpgrp;
    use rustix::stdio::stdin;
    use rustix::termios::tcgetpgrp;

    /// How often it is seen whether the process is in the foreground.
    const LOOK: Timespec = Timespec {
        tv_sec: 1,
        tv_nsec: 0,
    };

    /// Standard input, read only while that stops nobody.
    pub(super) struct Foreground;

    impl Read for Foreground {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            loop {
                if is_in_background() {
                    waits(&mut [])?;
                } else if waits(&mut [PollFd::new(&stdin(), PollFlags::IN)])? {
                    // It may have been sent into the background meanwhile.
                    if !is_in_background() {
                        return Ok(rustix::io::read(stdin(), buffer)?);
                    }
                }
            }
        }
    }

    /// Whether a read of this terminal would stop the process. A terminal that is not the
    /// process's own (there is no foreground to ask for) stops nobody.
    fn is_in_background() -> bool {
        std::io::stdin().is_terminal() && tcgetpgrp(stdin()).is_ok_and(|group| group != getpgrp())
    }

    /// Waits until something can be read, or the end; false after a while of nothing. A signal
    /// (`bg` and `fg` send one) ends the wait early.
    fn waits(on: &mut [PollFd<'_>]) -> Result<bool, Errno> {
        match poll(on, Some(&LOOK)) {
            Ok(ready) => Ok(ready > 0),
            Err(Errno::INTR) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
