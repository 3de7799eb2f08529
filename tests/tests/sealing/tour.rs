//! docs/sealing.md, run as it stands there by the program without a network.

use keyward_testkit::process::run;
use keyward_tests::binary::sealer;
use keyward_tests::shell::{blocks, promised};
use std::process::Command;
use std::time::Duration;

#[test]
fn the_page_works_as_it_is_written() {
    let page = include_str!("../../../docs/sealing.md");
    let blocks: Vec<&str> = blocks(page, &["sealing"]).into_iter().map(|(_, block)| block).collect();
    assert!(blocks.len() > 7 && blocks.iter().flat_map(|block| promised(block)).count() > 12);
    // One shell for all blocks, as a reader has one; a mark tells where each ends.
    let script: String =
        blocks.iter().enumerate().map(|(at, block)| format!("{block}\necho '--- {at} ---'\n")).collect();
    let folder = tempfile::tempdir().unwrap();
    let path = format!("{}:{}", sealer().parent().unwrap().display(), std::env::var("PATH").unwrap());
    let mut bash = Command::new("bash");
    bash.args(["-e", "-c", &format!("exec 2>&1\n{script}")]).current_dir(folder.path()).env("PATH", path);
    let ended = run(&mut bash, b"", Duration::from_secs(300)).unwrap();
    let mut rest = String::from_utf8_lossy(&ended.stdout).into_owned();
    for (at, block) in blocks.iter().enumerate() {
        let Some((printed, after)) = rest.split_once(&format!("--- {at} ---\n")) else {
            panic!("{block}\nfailed: {rest}");
        };
        for words in promised(block) {
            assert!(printed.contains(words), "{block}\npromises {words:?} and prints:\n{printed}");
        }
        rest = after.to_owned();
    }
}
