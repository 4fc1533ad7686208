//! What all requests share.

use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use pgop_sandbox_kubelet::Kubelet;

use crate::Config;
use crate::catalog::Catalog;
use crate::store::Store;

pub(crate) struct State {
    pub(crate) store: Arc<Store>,
    pub(crate) config: Config,
    pub(crate) kubelet: RwLock<Option<Arc<dyn Kubelet>>>,
    catalog: RwLock<Arc<Catalog>>,
    /// Held from choosing a service's address until it is stored: no two services get the same.
    pub(crate) addresses: Mutex<()>,
}

impl State {
    pub(crate) fn new(store: Arc<Store>, config: Config) -> Self {
        let catalog = RwLock::new(Arc::new(Catalog::new(&store)));
        Self { store, config, kubelet: RwLock::new(None), catalog, addresses: Mutex::new(()) }
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
