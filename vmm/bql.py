from vmm._native import ffi, lib
from pathlib import Path
class Recorder:
    def __init__(self, path=None):
        cfg = ffi.new("BqlRecConfig *")
        self._p = ffi.new("char[]", path.encode()) if path else ffi.NULL
        cfg.path = self._p
        err = ffi.new("char[256]")
        self.native = lib.bqlrec_open(cfg, err)
        if self.native == ffi.NULL: raise OSError(ffi.string(err))
        self.path = Path(ffi.string(lib.bqlrec_path(self.native)).decode())
    def close(self, unlink=False): lib.bqlrec_close(self.native, unlink)
class Bql:
    def __init__(self, policy, rec):
        self.native = lib.bql_new(policy.encode(), rec.native if rec else ffi.NULL)
        self.site = lib.bql_site(self.native, b"machine.py", 1, b"x", ffi.NULL)
    def acquire(self): lib.bql_lock_site(self.native, self.site)
    def release(self): lib.bql_unlock(self.native)
    def close(self): lib.bql_free(self.native)
