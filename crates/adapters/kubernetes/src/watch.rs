//! What changes among objects.

use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt, stream};
use kube::Resource;
use kube::api::{Api, PartialObjectMeta};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch};

use crate::objects::{PAGE, api};
use crate::{Error, Key, Metadata, Object, Objects, Selection, Why};

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
        project: impl FnMut(Object) -> P + Send + 'static,
    ) -> Changes<P> {
        let events = watch::watcher(self.api.clone(), selection.watched());
        self.follow(events, project)
    }

    /// The same for who looks at metadata alone: nothing else is sent by the API server.
    pub fn changes_of_metadata<P: Send + 'static>(
        &self,
        selection: &Selection,
        mut project: impl FnMut(Metadata) -> P + Send + 'static,
    ) -> Changes<P> {
        let api: Api<PartialObjectMeta<Object>> =
            api(self.api.clone().into_client(), self.kind(), self.namespace.as_deref());
        let events = watch::watcher(api, selection.watched());
        self.follow(events, move |object| project(object.metadata))
    }

    fn follow<K: Resource + Send + 'static, P: Send + 'static>(
        &self,
        events: impl Stream<Item = watcher::Result<Event<K>>> + Send + 'static,
        mut project: impl FnMut(K) -> P + Send + 'static,
    ) -> Changes<P> {
        let doing = self.doing("watching", "");
        let changes = events.default_backoff().map(move |event| match event {
            Ok(Event::Init) => Change::Listing,
            Ok(Event::InitApply(object) | Event::Apply(object)) => {
                Change::There(Key::from(object.meta()), project(object))
            }
            Ok(Event::InitDone) => Change::Listed,
            Ok(Event::Delete(object)) => Change::Gone(Key::from(object.meta())),
            Err(error) => Change::Trouble(Error::new(doing.clone(), why(error))),
        });
        Changes { stream: changes.chain(stream::pending()).boxed() }
    }
}

impl Selection {
    fn watched(&self) -> watch::Config {
        watch::Config {
            label_selector: self.labels.clone(),
            field_selector: self.fields.clone(),
            page_size: Some(PAGE),
            ..watch::Config::default()
        }
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
