//! Where values go: into files in the pod's memory, or, for what cannot read these, into Secrets.

use std::collections::BTreeMap;
use std::path::PathBuf;

use keyward_consumption::{Layout, Refused};
use keyward_kubernetes::Source;

use crate::AgentError;
use crate::fetch::Opened;
use crate::folder::{Content, Folder};
use crate::secrets::Secrets;

/// Where values are to go.
#[derive(Clone, Debug)]
pub enum To {
    /// Into files.
    Files {
        /// Which lies in memory.
        folder: PathBuf,
        /// How files are named.
        layout: Layout,
        /// The mode of files.
        mode: u32,
        /// Also where the folder does not lie in memory.
        on_disk: bool,
    },
    /// Into Secrets of the same names in the agent's namespace, where they rest in etcd and whoever may read Secrets reads them.
    Secrets(Source, AtRest),
}

/// How etcd keeps the Secrets that the API server writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtRest {
    /// It is looked at each time that values are to be written, and where no KMS plugin encrypts them, they are not.
    Verified,
    /// Somebody gives their word, or accepts what it is.
    Accepted,
}

pub(crate) enum Target {
    Files {
        folder: Folder,
        layout: Layout,
        /// By object.
        files: BTreeMap<String, Vec<String>>,
    },
    Secrets(Box<Secrets>),
}

impl Target {
    pub(crate) async fn open(to: &To, namespace: &str, objects: &[String]) -> Result<Target, AgentError> {
        match to {
            To::Files { layout: Layout::Flat, .. } if objects.len() > 1 => Err(AgentError::Options(
                "values of several objects go into folders: --layout folders".to_owned(),
            )),
            To::Files { folder, layout, mode, on_disk } => {
                let folder = Folder::open(folder, *mode, *on_disk)?;
                Ok(Target::Files { folder, layout: *layout, files: BTreeMap::new() })
            }
            To::Secrets(source, at_rest) => {
                Ok(Target::Secrets(Box::new(Secrets::connect(source, namespace, *at_rest).await?)))
            }
        }
    }

    /// Makes the values all that is there of these objects. What has none is as it was.
    pub(crate) async fn deliver(&mut self, objects: Vec<Opened>) -> Result<(), AgentError> {
        match self {
            Target::Secrets(secrets) => secrets.deliver(objects).await,
            Target::Files { folder, layout, files } => {
                let (content, named) = content(objects, *layout, files)?;
                folder.replace(&content)?;
                *files = named;
                Ok(())
            }
        }
    }

    /// At the end: takes away what the pod alone has read. Says what was done.
    pub(crate) fn leave(&self) -> Result<&'static str, AgentError> {
        match self {
            Target::Files { folder, .. } => {
                folder.wipe()?;
                Ok("stopped, and took everything away")
            }
            // Others read them, and read on while this pod is replaced.
            Target::Secrets(_) => Ok("stopped; the Secrets stay"),
        }
    }
}

type Files = BTreeMap<String, Vec<String>>;

fn content(
    objects: Vec<Opened>,
    layout: Layout,
    before: &Files,
) -> Result<(BTreeMap<String, Content>, Files), AgentError> {
    let odd = |why: Refused| AgentError::NotUnderstood(why.0);
    let (mut content, mut files) = (BTreeMap::new(), Files::new());
    for Opened { name, items, .. } in objects {
        let mut named = Vec::new();
        match items {
            None => {
                named = before.get(&name).cloned().unwrap_or_default();
                content.extend(named.iter().map(|file| (file.clone(), Content::Kept)));
            }
            Some(items) => {
                for (key, value) in items {
                    let file = layout.file(&name, &key).map_err(odd)?;
                    content.insert(file.clone(), Content::New(value.0));
                    named.push(file);
                }
            }
        }
        files.insert(name, named);
    }
    Ok((content, files))
}
