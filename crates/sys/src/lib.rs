//! What only `unsafe` code can ask of the system. Every other crate forbids it.
//!
//! A server's resident memory is made of three things: what it keeps, what its allocator keeps for later, and pages of
//! the program's own file that somebody has touched. The last two are given back here, by whoever knows that nothing
//! needs them soon: [`Quiet`] tells when.

mod quiet;

pub use quiet::{Quiet, processor_time};

use std::fs;
use std::io;

/// The allocator of every program that links this crate, C libraries included. A request is read by one thread, may be
/// recorded by another and freed by a third: the C library's allocator takes a lock for each block above a kilobyte that
/// changes hands, and a tenth of an audited read was waiting for it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Gives what the allocator keeps for later back to the system. It may take some milliseconds: for when there is little
/// to do.
pub fn release_free_memory() {
    // SAFETY: it takes no pointer, may be called from any thread, and touches only memory that is not allocated.
    unsafe { libmimalloc_sys::mi_collect(true) }
}

/// Unmaps the pages of the program that are exactly what its file holds: code and constants that were needed once, to
/// start or to answer a burst. They stay in the page cache, from where a page comes back with its next use, and the
/// system may now take them when memory is short. Answers how many bytes were resident.
///
/// # Errors
/// `/proc` is not there, or is not what proc(5) says.
#[cfg(target_os = "linux")]
pub fn release_program_pages() -> io::Result<u64> {
    let program = fs::read_link("/proc/self/exe")?;
    let mut released = 0;
    for mapping in clean_mappings(&fs::read_to_string("/proc/self/smaps")?, &program.to_string_lossy()) {
        let length = mapping.end - mapping.start;
        // SAFETY: the kernel says of this mapping that it is private, not writable and without one page of its own
        // (`Anonymous`), so that every page holds what the file holds, and one that is unmapped is read again from it with
        // its next use. That is still so: it is a part of the program itself, which nothing unmaps while it runs, and
        // which only the loader makes writable, before `main`. `start` is a page's first byte.
        let done = unsafe {
            libc::madvise(std::ptr::with_exposed_provenance_mut(mapping.start), length, libc::MADV_DONTNEED)
        };
        if done == 0 {
            released += mapping.resident;
        }
    }
    Ok(released)
}

/// Elsewhere there is nothing to give back.
#[cfg(not(target_os = "linux"))]
pub fn release_program_pages() -> io::Result<u64> {
    Ok(0)
}

/// A part of a file in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mapping {
    start: usize,
    end: usize,
    /// In bytes.
    resident: u64,
}

/// What `smaps` (proc(5)) tells of private mappings of this file that cannot be written and have no page of their own.
fn clean_mappings(smaps: &str, file: &str) -> Vec<Mapping> {
    let (mut found, mut current): (Vec<Mapping>, Option<Mapping>) = (Vec::new(), None);
    for line in smaps.lines() {
        let Some((name, rest)) = line.split_once(' ') else { continue };
        if let Some(field) = name.strip_suffix(':') {
            match (field, &mut current) {
                ("Rss", Some(mapping)) => mapping.resident = kilobytes(rest) * 1024,
                // What it cannot say is as bad as what it has.
                ("Anonymous", Some(_)) if kilobytes(rest) == 0 => {
                    found.extend(current.take().filter(|mapping| mapping.resident > 0));
                }
                ("Anonymous", _) => current = None,
                _ => {}
            }
        } else {
            current = mapping(name, rest, file);
        }
    }
    found
}

fn kilobytes(text: &str) -> u64 {
    text.trim().strip_suffix(" kB").and_then(|number| number.trim().parse().ok()).unwrap_or(u64::MAX / 1024)
}

/// The head of a mapping: `start-end perms offset device inode path`.
fn mapping(range: &str, rest: &str, file: &str) -> Option<Mapping> {
    let (start, end) = range.split_once('-')?;
    let path = rest.splitn(5, ' ').nth(4)?.trim_start();
    let fits = (rest.starts_with("r-xp ") || rest.starts_with("r--p ")) && path == file;
    let address = |digits| usize::from_str_radix(digits, 16).ok();
    fits.then_some(Mapping { start: address(start)?, end: address(end)?, resident: 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROGRAM: &str = "/opt/our tools/keyward";
    const SMAPS: &str = "\
55d0c0000000-55d0c0400000 r--p 00000000 fe:00 1234                       /opt/our tools/keyward
Size:               4096 kB
Rss:                1024 kB
Anonymous:             0 kB
VmFlags: rd mr mw me sd
55d0c0400000-55d0c2000000 r-xp 00400000 fe:00 1234                       /opt/our tools/keyward
Rss:               11264 kB
Anonymous:             4 kB
55d0c2000000-55d0c2100000 r--p 02000000 fe:00 1234                       /opt/our tools/keyward
Rss:                1004 kB
Anonymous:          1004 kB
55d0c2100000-55d0c2110000 rw-p 02100000 fe:00 1234                       /opt/our tools/keyward
Rss:                  64 kB
Anonymous:             0 kB
55d0c3000000-55d0c3100000 rw-p 00000000 00:00 0                          [heap]
Rss:                 736 kB
Anonymous:             0 kB
7f0000000000-7f0000100000 r-xp 00000000 fe:00 99                         /usr/lib/libc.so.6
Rss:                 512 kB
Anonymous:             0 kB
7f0000200000-7f0000300000 r--s 00000000 fe:00 1234                       /opt/our tools/keyward
Rss:                 512 kB
Anonymous:             0 kB
7ffd00000000-7ffd00002000 r-xp 00000000 00:00 0                          [vdso]
Rss:                   8 kB
Anonymous:             0 kB
";

    #[test]
    fn only_what_is_as_in_its_file_is_found() {
        let found = clean_mappings(SMAPS, PROGRAM);
        let expected = Mapping { start: 0x55d0_c000_0000, end: 0x55d0_c040_0000, resident: 1 << 20 };
        assert_eq!(found, [expected]);
    }

    #[test]
    fn what_is_not_understood_is_left_alone() {
        let garbled = SMAPS.replace("Anonymous:             0 kB", "Anonymous:             ? kB");
        assert_eq!(clean_mappings(&garbled, PROGRAM), []);
        assert_eq!(clean_mappings("x y\n\n-\nRss: 1\nAnonymous: 0 kB\n", PROGRAM), []);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_program_without_its_pages_goes_on() {
        let program = fs::read_link("/proc/self/exe").unwrap();
        let resident = || -> u64 {
            let smaps = fs::read_to_string("/proc/self/smaps").unwrap();
            clean_mappings(&smaps, program.to_str().unwrap()).iter().map(|mapping| mapping.resident).sum()
        };
        let before = resident();
        let released = release_program_pages().unwrap();
        let after = resident();
        assert!(released > 0 && after < before, "{released} of {before}, {after} left");
        release_free_memory();
        assert_eq!(format!("{:?}", "goes on".to_uppercase()), "\"GOES ON\"");
    }
}
