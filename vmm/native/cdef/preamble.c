/* C source in front of the generated wrappers: the headers whose contents cdef/ declares. */
#include "block.h"
#include "testing_block.h"
