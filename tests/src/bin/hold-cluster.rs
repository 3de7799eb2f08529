//! Holds a test cluster until it is killed: what a test kills to see what is left.

#[cfg(target_os = "linux")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    use keyward_testkit::cluster::{Cluster, Options};

    let name = std::env::args().nth(1).ok_or("usage: hold-cluster NAME")?;
    let cluster = Cluster::start(Options::named(&name))?;
    println!("held: {name}");
    std::thread::sleep(std::time::Duration::from_secs(600));
    drop(cluster);
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    Err("test clusters need Linux".into())
}
