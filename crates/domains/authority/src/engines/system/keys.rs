//! The barrier's keys, and sealing.

use crate::context::{Context, Effect};
use crate::refusal::Refusal;
use crate::request::Operation;
use crate::response::Response;
use crate::rotation::Rotation;
use crate::route::{Kind, Route, Traits, field};
use serde_json::json;
use std::time::Duration;

const SUDO: Traits = Traits { sudo: true, ..Route::EMPTY.traits };

pub(super) const ROUTES: &[Route] = &[
    Route {
        pattern: "key-status",
        operations: &[(Operation::Read, status)],
        help: "Shows the barrier's newest key.",
        ..Route::EMPTY
    },
    Route {
        pattern: "rotate",
        operations: &[(Operation::Update, rotate)],
        traits: SUDO,
        help: "Adds a key to the barrier, which seals what is written from now on.",
        ..Route::EMPTY
    },
    Route {
        pattern: "rotate/keyring",
        operations: &[(Operation::Update, rotate)],
        traits: SUDO,
        help: "Adds a key to the barrier, which seals what is written from now on.",
        ..Route::EMPTY
    },
    Route {
        pattern: "rotate/config",
        operations: &[(Operation::Read, read_config), (Operation::Update, write_config)],
        fields: &[
            field("enabled", Kind::Bool, "Add keys without being asked."),
            field("max_operations", Kind::Int, "Add a key after so many encryptions."),
            field("interval", Kind::Duration, "Add a key after this time too; never when 0."),
        ],
        help: "Says when the barrier adds a key by itself.",
        ..Route::EMPTY
    },
    Route {
        pattern: "seal",
        operations: &[(Operation::Update, seal)],
        traits: SUDO,
        help: "Forgets the root key: nothing can be read until the authority is unsealed.",
        ..Route::EMPTY
    },
];

fn status(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let status = cx.txn.keyring().status(cx.txn.rev());
    let data = json!({
        "term": status.term,
        "install_time": status.installed.to_string(),
        "encryptions": status.encryptions,
    });
    Ok(Response::data(&data)?.flattened())
}

fn rotate(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    cx.txn.rotate_keyring(cx.root, cx.now);
    Ok(Response::empty())
}

const DAY: Duration = Duration::from_secs(24 * 3600);

fn read_config(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let rotation = Rotation::load(cx.txn)?;
    let interval = match rotation.interval {
        0 => json!(0),
        seconds => json!(crate::token::go_duration(Duration::from_secs(seconds))),
    };
    Response::data(&json!({
        "enabled": rotation.enabled,
        "max_operations": rotation.max_operations,
        "interval": interval,
    }))
}

fn write_config(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    let mut rotation = Rotation::load(cx.txn)?;
    if let Some(enabled) = cx.fields().bool("enabled")? {
        rotation.enabled = enabled;
    }
    if let Some(span) = cx.fields().duration("interval")? {
        if !span.is_zero() && span < DAY {
            return Err(Refusal::invalid("interval must be greater or equal to 24h0m0s"));
        }
        rotation.interval = span.as_secs();
    }
    if let Some(most) = cx.fields().int("max_operations")? {
        let (least, greatest) = (Rotation::LEAST, Rotation::GREATEST);
        rotation.max_operations =
            u64::try_from(most).ok().filter(|most| (least..=greatest).contains(most)).ok_or_else(|| {
                Refusal::invalid(format!("max_operations must be in the range [{least},{greatest}]"))
            })?;
    }
    rotation.store(cx.txn)?;
    Ok(Response::empty())
}

fn seal(cx: &mut Context<'_, '_>) -> Result<Response, Refusal> {
    cx.effects.push(Effect::Seal);
    Ok(Response::empty())
}
