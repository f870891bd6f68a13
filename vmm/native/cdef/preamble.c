/* SPDX-License-Identifier: GPL-2.0-or-later */
/* C source in front of the generated wrappers: the headers whose contents cdef/ declares. */
