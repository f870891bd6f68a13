# SPDX-License-Identifier: GPL-2.0-or-later
"""The native data plane: C sources, cffi declarations and their build."""
