//! Logs of a run that goes on, or of one that has ended.

use bytes::Bytes;
use futures::stream::BoxStream;
use pgop_sandbox_kubelet::{KubeletError, LogOptions, Target};

use super::not_running;
use crate::logs::read;
use crate::pod::worker::PodRun;

pub(super) async fn logs(
    run: &PodRun,
    target: &Target,
    options: LogOptions,
) -> Result<BoxStream<'static, std::io::Result<Bytes>>, KubeletError> {
    let restarts = {
        let state = run.watch();
        let state = state.borrow();
        let Some(container) = state.containers.iter().find(|c| c.name == target.container) else {
            drop(state);
            return Err(not_running(run, target));
        };
        container.restarts
    };
    let number = if options.previous { restarts - 1 } else { restarts };
    let file = |number: i32| {
        run.folder
            .join("containers")
            .join(&target.container)
            .join(format!("{number}.log"))
    };
    let mut path = file(number);
    if options.previous {
        if number < 0 || !path.exists() {
            return Err(KubeletError::NoPreviousRun {
                container: target.container.clone(),
                pod: target.pod.clone(),
            });
        }
    } else if !path.exists() {
        // It waits to be started again: its last run is what there is to show.
        path = file(number - 1);
        if !path.exists() {
            return Err(not_running(run, target));
        }
    }
    let feed = if options.previous {
        None
    } else {
        run.feed(&target.container).filter(|feed| feed.path() == path)
    };
    let what = path.display().to_string();
    read(path, feed, options)
        .await
        .map_err(|source| KubeletError::Open { what, source })
}
