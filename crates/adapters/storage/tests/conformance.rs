//! The suite, for both stores of this crate.
#![allow(clippy::unwrap_used, reason = "tests, and what they share")]

mod memory {
    use keyward_storage::{Memory, Store};
    use std::any::Any;
    use std::sync::Arc;

    fn fresh() -> (Arc<dyn Store>, Box<dyn Any>) {
        (Arc::new(Memory::new()), Box::new(()))
    }

    keyward_storage::conformance_suite!(fresh);
}

mod sqlite {
    use keyward_storage::{Sqlite, Store, sqlite::Options};
    use std::any::Any;
    use std::sync::Arc;

    fn fresh() -> (Arc<dyn Store>, Box<dyn Any>) {
        let dir = tempfile::tempdir().unwrap();
        (Arc::new(Sqlite::open(dir.path(), Options::default()).unwrap()), Box::new(dir))
    }

    keyward_storage::conformance_suite!(fresh);
}

/// With hardly any cache, queue and log, every path behind them is taken.
mod sqlite_cramped {
    use keyward_storage::{Sqlite, Store, sqlite::Options};
    use std::any::Any;
    use std::sync::Arc;

    fn fresh() -> (Arc<dyn Store>, Box<dyn Any>) {
        let dir = tempfile::tempdir().unwrap();
        let options = Options { cache_bytes: 2048, readers: 1, queue_bytes: 4096, log_bytes: 1 << 16 };
        (Arc::new(Sqlite::open(dir.path(), options).unwrap()), Box::new(dir))
    }

    keyward_storage::conformance_suite!(fresh);
}
