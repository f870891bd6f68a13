/* cffi declarations: virtqueue. Mirrors the header of the same name; see there for the contract. */
