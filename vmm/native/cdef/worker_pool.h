/* cffi declarations: worker_pool. Mirrors the header of the same name; see there for the contract. */
