//! What all requests share.

use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use pgop_sandbox_kubelet::Kubelet;

use crate::Config;
use crate::catalog::Catalog;
use crate::metrics::Metrics;
use crate::store::Store;

pub(crate) struct State {
    pub(crate) store: Arc<Store>,
    pub(crate) config: Config,
    pub(crate) kubelet: RwLock<Option<Arc<dyn Kubelet>>>,
    catalog: RwLock<Arc<Catalog>>,
    /// Signs the tokens of service accounts.
    pub(crate) token_key: Vec<u8>,
    pub(crate) metrics: Metrics,
    /// Held from choosing a service's address and ports until they are stored: no two services get the same.
    pub(crate) addresses: Mutex<()>,
}

impl State {
    pub(crate) fn new(store: Arc<Store>, config: Config, token_key: Vec<u8>) -> Self {
        let catalog = RwLock::new(Arc::new(Catalog::new(&store)));
        let (kubelet, metrics, addresses) = (RwLock::new(None), Metrics::default(), Mutex::new(()));
        Self {
            store,
            config,
            kubelet,
            catalog,
            token_key,
            metrics,
            addresses,
        }
    }

    pub(crate) fn catalog(&self) -> Arc<Catalog> {
        self.catalog.read().clone()
    }

    /// After a CRD was written.
    pub(crate) fn renew_catalog(&self) {
        let mut catalog = self.catalog.write();
        let renewed = catalog.renewed(&self.store);
        *catalog = Arc::new(renewed);
    }
}
