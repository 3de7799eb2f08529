//! What an object demands of a workload besides being one of its ServiceAccounts. What cannot be found out is not so: a workload of
//! which something that is demanded is not known is refused.

use super::prove::Workload;
use crate::context::Context;
use crate::engines::kubernetes;
use crate::refusal::Refusal;
use keyward_envelope::Violation;
use keyward_intent::{Bounds, LabelSelector};

/// Whether `workload` is all that `bounds` demand of it.
pub(super) fn workload(
    cx: &mut Context<'_, '_>,
    workload: &Workload,
    bounds: &Bounds,
) -> Result<(), Refusal> {
    if let Some(selector) = &bounds.namespace_selector {
        namespace(cx, workload, selector)?;
    }
    Ok(())
}

/// The labels that the API server says the namespace has.
fn namespace(cx: &mut Context<'_, '_>, workload: &Workload, selector: &LabelSelector) -> Result<(), Refusal> {
    let namespace = &workload.subject.namespace;
    let labels = kubernetes::namespace_labels(cx, &workload.cluster, namespace)?;
    match selector.selects(&labels) {
        true => Ok(()),
        false => {
            let (selector, namespace) = (selector.to_string(), namespace.clone());
            Err(Refusal::denied(Violation::NamespaceSelector { selector, namespace }.to_string()))
        }
    }
}
