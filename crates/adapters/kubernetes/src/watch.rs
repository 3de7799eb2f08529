//! What changes among objects.

use futures_util::stream::BoxStream;
use futures_util::{StreamExt, stream};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch};

use crate::objects::PAGE;
use crate::{Error, Key, Object, Objects, Selection, Why};

/// What happened. `P` is what the projection left of an object.
#[derive(Clone, Debug, PartialEq)]
pub enum Change<P> {
    /// A list begins: at the start, and when the server no longer knows what happened since. Until
    /// [`Listed`](Change::Listed) every object there is comes once.
    Listing,
    /// An object is there, new or changed or listed.
    There(Key, P),
    /// The list is complete: what did not come is gone.
    Listed,
    /// An object is gone.
    Gone(Key),
    /// The server cannot be listened to. It is tried again, after longer and longer waits up to 30 s.
    Trouble(Error),
}

impl<P> Change<P> {
    /// Keeps less of an object that is there, or something else.
    pub fn map<Q>(self, project: impl FnOnce(P) -> Q) -> Change<Q> {
        match self {
            Change::Listing => Change::Listing,
            Change::There(key, projected) => Change::There(key, project(projected)),
            Change::Listed => Change::Listed,
            Change::Gone(key) => Change::Gone(key),
            Change::Trouble(why) => Change::Trouble(why),
        }
    }
}

/// Changes without an end. One connection, with bookmarks; it resumes where it broke.
pub struct Changes<P> {
    stream: BoxStream<'static, Change<P>>,
}

impl<P> Changes<P> {
    /// Waits for the next change.
    pub async fn next(&mut self) -> Change<P> {
        match self.stream.next().await {
            Some(change) => change,
            // The stream has no end.
            None => std::future::pending().await,
        }
    }
}

impl Objects {
    /// Watches the selected objects. Of each only what `project` returns is kept; pages of 100 are in memory whole.
    pub fn changes<P: Send + 'static>(
        &self,
        selection: &Selection,
        mut project: impl FnMut(Object) -> P + Send + 'static,
    ) -> Changes<P> {
        let how = watch::Config {
            label_selector: selection.labels.clone(),
            field_selector: selection.fields.clone(),
            page_size: Some(PAGE),
            ..watch::Config::default()
        };
        let doing = self.doing("watching", "");
        let events = watch::watcher(self.api.clone(), how).default_backoff();
        let changes = events.map(move |event| match event {
            Ok(Event::Init) => Change::Listing,
            Ok(Event::InitApply(object) | Event::Apply(object)) => {
                Change::There(Key::of(&object), project(object))
            }
            Ok(Event::InitDone) => Change::Listed,
            Ok(Event::Delete(object)) => Change::Gone(Key::of(&object)),
            Err(error) => Change::Trouble(Error::new(doing.clone(), why(error))),
        });
        Changes { stream: changes.chain(stream::pending()).boxed() }
    }
}

fn why(error: watcher::Error) -> Why {
    match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => Why::of(error),
        watcher::Error::WatchError(status) => Why::said(&status),
        watcher::Error::NoResourceVersion => Why::Other("it cannot be watched".to_owned()),
    }
}
