//! All that can go wrong, and what it means for scripts.

use thiserror::Error;

use crate::cluster::ClusterError;
use crate::exit_code::ExitCode;
use crate::input::InputError;
use crate::preview::PreviewError;
use crate::request::RequestError;
use crate::volume::VolumeError;
use crate::wait::WaitError;

/// Why a verb failed.
#[derive(Debug, Error)]
pub enum Error {
    /// The cluster.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// What was typed can't be made a resource.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// A file with resources.
    #[error(transparent)]
    Input(#[from] InputError),
    /// The resource would be refused, or no plan can be made.
    #[error(transparent)]
    Preview(#[from] PreviewError),
    /// Waiting.
    #[error(transparent)]
    Wait(#[from] WaitError),
    /// Looking into a volume.
    #[error(transparent)]
    Volume(#[from] VolumeError),
    /// The built-in strategies are broken: a defect of this program.
    #[error("the built-in strategies can't be read: {0}; this is a defect of pgo, please report it")]
    Strategies(String),
    /// The command line asks for something that makes no sense.
    #[error("{0}")]
    Usage(String),
    /// An object failed, in the verb's own words.
    #[error("{0}")]
    Object(String),
    /// The person said no, or pressed Ctrl-C.
    #[error("stopped; nothing more was done")]
    Interrupted,
}

impl Error {
    /// What it means for scripts.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Cluster(error) => error.exit_code(),
            Self::Request(_) | Self::Input(_) | Self::Usage(_) => ExitCode::Usage,
            Self::Preview(_) | Self::Object(_) | Self::Strategies(_) => ExitCode::Failed,
            Self::Wait(error) => error.exit_code(),
            Self::Volume(error) => error.exit_code(),
            Self::Interrupted => ExitCode::Interrupted,
        }
    }

    /// Nothing else will work either.
    pub fn is_final(&self) -> bool {
        match self {
            Self::Cluster(error) => error.is_final(),
            Self::Volume(VolumeError::Interrupted) | Self::Interrupted => true,
            _ => false,
        }
    }
}
