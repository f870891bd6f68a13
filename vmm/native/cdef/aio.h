/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cffi declarations: aio. Mirrors the header of the same name; see there for the contract. */
