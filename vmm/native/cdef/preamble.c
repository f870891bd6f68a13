/* C source in front of the generated wrappers: the headers whose contents cdef/ declares. */
#include "block.h"
#include "testing_block.h"
#include <stdbool.h>
#include <stdint.h>
#include "bench_recorder.h"
#include "bql.h"
#include "bqlrec.h"
#include "thread.h"
