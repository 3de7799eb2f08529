//! Shares on paper: a page a share, with the share as a QR code and in letters, for any browser to print.

use crate::cli::Failure;
use keyward_crypto::Secret;
use keyward_crypto::secret::SecretString;
use keyward_sealing::root::Share;
use qrcode::{Color, EcLevel, QrCode};

/// The white around a code, in its own units, that readers need.
const QUIET: usize = 4;

/// A page of HTML that loads nothing from anywhere.
pub(super) fn page(share: &Share, created: &str) -> Result<SecretString, Failure> {
    let text = share.text();
    let (number, shares, required) = share.counts();
    let letters: Vec<&str> = text
        .expose()
        .as_bytes()
        .chunks(8)
        .map(|part| std::str::from_utf8(part).unwrap_or_default())
        .collect();
    let page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Share {number} of {shares}</title>\n\
         <style>body{{font-family:sans-serif;max-width:17cm;margin:1cm auto}}svg{{width:8cm}}\
         code{{font-size:14pt;line-height:1.6;word-spacing:.4em}}</style></head><body>\n\
         <h1>Keyward root {root}</h1>\n<p>Share <b>{number}</b> of {shares}, made {created}. \
         Any <b>{required}</b> of them give the root of trust back; fewer say nothing.</p>\n{code}\n\
         <p><code>{letters}</code></p>\n<p>Keep it where no other share is, offline. To use it, type the letters or scan the \
         code into a file on the offline machine, and run <code>keyward root verify --share FILE ...</code> there.</p>\n\
         </body></html>\n",
        root = share.root(),
        code = svg(text.expose())?,
        letters = letters.join(" "),
    );
    Ok(Secret::new(page))
}

fn svg(text: &str) -> Result<String, Failure> {
    let code = QrCode::with_error_correction_level(text, EcLevel::Q)
        .map_err(|_| Failure::Usage("the share is too long for a QR code".to_owned()))?;
    let side = code.width() + 2 * QUIET;
    let mut path = String::new();
    for y in 0..code.width() {
        for x in (0..code.width()).filter(|x| code[(*x, y)] == Color::Dark) {
            path.push_str(&format!("M{} {}h1v1h-1z", x + QUIET, y + QUIET));
        }
    }
    Ok(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {side} {side}\" shape-rendering=\"crispEdges\">\
         <path fill=\"#fff\" d=\"M0 0h{side}v{side}H0z\"/><path d=\"{path}\"/></svg>"
    ))
}
