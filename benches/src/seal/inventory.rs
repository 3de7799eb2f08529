//! The inventory of an authority that knows many sealed secrets.

use super::authority;
use crate::Failure;
use crate::load;
use crate::measure::{self, middle};
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, Instant};

/// Seconds that an inventory of [`MANY`] secrets may take.
const BUDGET: f64 = 1.0;
const MANY: f64 = 100_000.0;
/// How often it is read; what counts is the middle.
const ROUNDS: usize = 7;

/// Registers `wanted` objects, and reads them all.
pub(super) fn figure(program: &Path, wanted: u64) -> Result<(), Failure> {
    let folder = tempfile::tempdir()?;
    let (keyward, sealed) = authority::start(program, &folder.path().join("data"))?;
    let mut sealed = serde_json::to_value(sealed)?;
    sealed["metadata"]["name"] = json!("db-{n}");
    let body = json!({ "manifest": sealed }).to_string();
    let register = keyward.ask_as_root("POST", "sealed/objects/bench/db-{n}", &body);
    let (mut there, began) = (0, Instant::now());
    while there < wanted {
        there += load::run(keyward.server.address, &register, 8, Duration::from_secs(1))?.requests;
    }
    let rate = there as f64 / began.elapsed().as_secs_f64();
    let mut took = Vec::new();
    for _ in 0..ROUNDS {
        took.push(read_all(&|after| {
            let page = keyward.ask_as_root("GET", &format!("sealed/inventory?after={after}"), "");
            load::once(keyward.server.address, &page)
        })?);
    }
    let took = middle(took) * MANY / there as f64;
    measure::figure(
        "inventory-over-budget",
        took / BUDGET,
        format!(
            "{took:.2} s of {BUDGET:.0} s for 100,000, measured with {there}; {rate:.0} registered a second"
        ),
    )
}

/// Seconds until the answers with the whole inventory are there. What they say is looked at apart from that.
fn read_all(page: &dyn Fn(&str) -> Result<String, Failure>) -> Result<f64, Failure> {
    let (mut took, mut after) = (0.0, String::new());
    loop {
        let began = Instant::now();
        let page = page(&after)?;
        took += began.elapsed().as_secs_f64();
        let page: Value = serde_json::from_str(&page)?;
        match page["data"]["next"].as_str() {
            Some(next) => next.clone_into(&mut after),
            None => return Ok(took),
        }
    }
}
