//! Many inputs in one request, each answered for itself.

use crate::context::Context;
use crate::fields::Fields;
use crate::refusal::Refusal;
use crate::response::Response;
use crate::route::{Field, Kind, field};
use serde::Serialize;
use serde_json::json;
use serde_json::value::RawValue;

pub(super) const BATCH: Field =
    field("batch_input", Kind::Json, "A list of objects, each with its own input; answered in order.");
pub(super) const PARTIAL: Field =
    field("partial_failure_response_code", Kind::Int, "The status when some items of a batch fail; 400.");

/// The items of `batch_input`, if there is one.
pub(super) fn items(cx: &Context<'_, '_>) -> Result<Option<Vec<Fields>>, Refusal> {
    let Some(raw) = cx.fields().raw("batch_input") else { return Ok(None) };
    let refuse = |why: &str| Refusal::invalid(format!("failed to parse batch input: {why}"));
    let items: Vec<&RawValue> = serde_json::from_str(raw.get())
        .map_err(|_| refuse("source data must be an array or slice of objects"))?;
    if items.is_empty() {
        return Err(Refusal::invalid("missing batch input to process"));
    }
    let parse = |(at, item): (usize, &&RawValue)| {
        Fields::parse(item.get().as_bytes()).map_err(|_| refuse(&format!("[{at}] expected a map")))
    };
    items.iter().enumerate().map(parse).collect::<Result<_, _>>().map(Some)
}

/// What is answered to one item.
pub(super) trait Item: Serialize + Sized {
    /// What is shown of an item that failed, beside the error.
    fn failed() -> Option<Self> {
        None
    }
}

/// What came of one item: `T` flattened into it, or the error.
#[derive(Serialize)]
pub(super) struct Answer<T> {
    #[serde(flatten)]
    shown: Option<T>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    reference: String,
}

impl<T> Answer<T> {
    /// Whether the item was done.
    pub(super) fn is_done(&self) -> bool {
        self.error.is_none()
    }
}

/// Does `each` item. What the caller can mend fails the item, anything else the request.
pub(super) fn answer_each<I, T: Item>(
    items: &[I],
    reference: impl Fn(&I) -> Result<String, Refusal>,
    mut each: impl FnMut(usize, &I) -> Result<T, Refusal>,
) -> Result<Vec<Answer<T>>, Refusal> {
    let answer = |(at, item): (usize, &I)| {
        let reference = reference(item)?;
        match each(at, item) {
            Ok(done) => Ok(Answer { shown: Some(done), error: None, reference }),
            Err(Refusal::Invalid(why)) => {
                Ok(Answer { shown: T::failed(), error: Some(why.join("; ")), reference })
            }
            Err(other) => Err(other),
        }
    };
    items.iter().enumerate().map(answer).collect()
}

/// All answers.
pub(super) fn respond<T: Item>(answers: &[Answer<T>]) -> Result<Response, Refusal> {
    Response::data(&json!({ "batch_results": answers }))
}

/// All answers; with a status of 400 if an item failed, or what the caller wants to see if only some did.
pub(super) fn respond_with_status<T: Item>(
    cx: &Context<'_, '_>,
    answers: &[Answer<T>],
) -> Result<Response, Refusal> {
    let mut response = respond(answers)?;
    if answers.iter().all(Answer::is_done) {
        return Ok(response);
    }
    response.status = Some(400);
    match cx.fields().int("partial_failure_response_code")? {
        Some(wanted) if answers.iter().any(Answer::is_done) => match u16::try_from(wanted) {
            Ok(wanted @ 200..=599) => response.status = Some(wanted),
            // A status below 200 is no answer in HTTP.
            _ => {
                return Ok(response.warn(
                    "invalid HTTP response code override from partial_failure_response_code, reverting to 400",
                ));
            }
        },
        _ => {}
    }
    Ok(response)
}

/// What an item of a batch is called by its sender.
pub(super) fn reference(fields: &Fields) -> Result<String, Refusal> {
    Ok(fields.string("reference")?.unwrap_or_default())
}
