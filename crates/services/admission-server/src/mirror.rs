//! What is there of a kind, kept up by its changes.

use keyward_kubernetes::{Change, Error, Key, Objects, Selection};
use std::collections::{BTreeMap, HashSet};
use tokio::sync::mpsc;

/// Objects, or what is kept of them, by where they stand.
pub(crate) struct Mirror<P> {
    there: BTreeMap<Key, P>,
    /// What came since a list began.
    listing: Option<HashSet<Key>>,
    listed: bool,
}

impl<P> Default for Mirror<P> {
    fn default() -> Mirror<P> {
        Mirror { there: BTreeMap::new(), listing: None, listed: false }
    }
}

impl<P> Mirror<P> {
    /// Takes in a change; what cannot be listened to is handed back. A kind that is not served has no objects.
    pub(crate) fn apply(&mut self, change: Change<P>) -> Option<Error> {
        match change {
            Change::Listing => self.listing = Some(HashSet::new()),
            Change::There(key, projected) => {
                if let Some(listing) = &mut self.listing {
                    listing.insert(key.clone());
                }
                self.there.insert(key, projected);
            }
            Change::Listed => {
                if let Some(listing) = self.listing.take() {
                    self.there.retain(|key, _| listing.contains(key));
                }
                self.listed = true;
            }
            Change::Gone(key) => {
                self.there.remove(&key);
            }
            Change::Trouble(why) if why.is_missing() => {
                self.there.clear();
                self.listed = true;
            }
            Change::Trouble(why) => return Some(why),
        }
        None
    }

    /// Whether all that is there is known.
    pub(crate) fn is_listed(&self) -> bool {
        self.listed
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Key, &P)> {
        self.there.iter()
    }
}

/// Sends the changes of a kind, tagged, for as long as somebody receives them.
pub(crate) fn follow<T: Copy + Send + 'static, P: Send + 'static>(
    objects: &Objects,
    selection: &Selection,
    tag: T,
    to: mpsc::Sender<(T, Change<P>)>,
    project: impl FnMut(keyward_kubernetes::Object) -> P + Send + 'static,
) {
    let mut changes = objects.changes(selection, project);
    tokio::spawn(async move { while to.send((tag, changes.next().await)).await.is_ok() {} });
}
