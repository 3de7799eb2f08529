use keyward_policy_files::suite;
fn main() {
    let root = std::env::args().nth(1).unwrap();
    let verbose = std::env::args().nth(2).is_some();
    let (mut suites_ok, mut suites_bad, mut pass, mut fail, mut excluded) = (0, 0, 0, 0, 0);
    for one in suite::find(std::path::Path::new(&root), suite::FILE).unwrap() {
        match one.run(1_780_000_000_000_000_000) {
            Err(why) => { suites_bad += 1; println!("ERR  {} {}: {why}", one.folder.display(), one.name); }
            Ok(rows) => {
                let bad: Vec<_> = rows.iter().filter(|row| !row.passed).collect();
                pass += rows.len() - bad.len(); fail += bad.len();
                excluded += rows.iter().filter(|row| row.reason == "Excluded").count();
                if bad.is_empty() { suites_ok += 1 } else {
                    suites_bad += 1;
                    println!("FAIL {}", one.folder.display());
                    for row in bad.iter().take(if verbose { 50 } else { 3 }) { println!("     {}/{} {}: {} [{}]", row.policy, row.rule, row.resource, row.reason, row.message.chars().take(300).collect::<String>()); }
                }
            }
        }
    }
    println!("{suites_ok} suites pass, {suites_bad} do not; {pass} tests passed ({excluded} excluded) and {fail} tests failed");
}
