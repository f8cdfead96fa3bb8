"""How many CPUs the control groups of this process grant it.

/proc/self/cgroup names the process's group in each hierarchy, /proc/self/mountinfo says which part
of a hierarchy is mounted where. A group's quota holds for all groups below it, so that the process
has the least of its own group's and of every visible parent's.

    version 2    cpu.max                                   "quota period", or "max period"
    version 1    cpu.cfs_quota_us over cpu.cfs_period_us   the former is -1 without a quota

A file that is absent, unreadable or says something else sets no limit. Paths are tuples of names
here: this is read when fastbp is imported, and the import of pathlib takes longer.
"""

import os
import re


def cpu_quota(root="/"):
    """CPUs that the tightest quota grants, rounded up; None without a quota.

    Parameters
    ----------
    root : path
        The directory that has proc and all mount points.

    Returns
    -------
    int or None
        At least 1.
    """
    groups = dict(_groups(_read(root, "proc/self/cgroup")))
    mounts = list(_mounts(_read(root, "proc/self/mountinfo")))
    granted = [_cpus(*QUOTAS[kind](os.path.join(root, *folder)))
               for kind, group in groups.items()
               for folder in _visible(group, [mount[1:] for mount in mounts if mount[0] == kind])]
    return min(filter(None, granted), default=None)


def _groups(text):
    """Pairs of a hierarchy's file system and the process's group, of ID:CONTROLLERS:GROUP lines."""
    for line in text.split("\n"):
        number, controllers, group = (*line.split(":", 2), "", "")[:3]
        if "cpu" in controllers.split(","):
            yield "cgroup", _relative(group)
        elif number == "0" and not controllers:
            yield "cgroup2", _relative(group)


def _mounts(text):
    """File system, part and mount point of each mount of a hierarchy that may have quotas.

    The fields of a line are ID, parent, device, part, mount point, options, more of these, "-",
    file system, source, options of the file system.
    """
    for line in text.split("\n"):
        mount, _, file_system = line.partition(" - ")
        mount, (kind, *options) = mount.split(" "), file_system.split(" ")
        controllers = options[-1].split(",") if options else ()
        if len(mount) > 4 and (kind == "cgroup2" or kind == "cgroup" and "cpu" in controllers):
            yield kind, _relative(_unescaped(mount[3])), _relative(_unescaped(mount[4]))


def _relative(path):
    """The names on a path from the root of a hierarchy, or of the file system."""
    return tuple(name for name in path.split("/") if name not in ("", "."))


def _unescaped(path):
    """The kernel writes a space, a tab, a newline and a backslash in octal."""
    if "\\" not in path:        # most have none, and the pattern is compiled at import
        return path
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), path)


def _visible(group, mounts):
    """The folders of a group and of its parents, in mounts of parts of its hierarchy.

    Where no mount has the group the mount points themselves are left: a container's tools may have
    mounted its own group and then moved the process, and a part that begins above the root of a
    namespace of groups ("/..") begins at a parent whose name is not known.
    """
    found = [(point, group[len(part):]) for part, point in mounts
             if group[:len(part)] == part and ".." not in group[len(part):]]
    for point, below in found or [(point, ()) for _, point in mounts]:
        for depth in range(len(below), -1, -1):
            yield point + below[:depth]


def _quota_of_version_1(folder):
    return _read(folder, "cpu.cfs_quota_us"), _read(folder, "cpu.cfs_period_us")


def _quota_of_version_2(folder):
    return (*_read(folder, "cpu.max").split(), "", "")[:2]


QUOTAS = {"cgroup": _quota_of_version_1, "cgroup2": _quota_of_version_2}


def _cpus(quota, period):
    """Their quotient, rounded up; None unless both are numbers above 0."""
    try:
        quota, period = int(quota), int(period)
    except ValueError:
        return None
    return -(-quota // period) if quota > 0 and period > 0 else None


def _read(folder, name):
    """The text of a file, or "" without it."""
    try:
        with open(os.path.join(folder, name), "rb") as file:
            return os.fsdecode(file.read())
    except (OSError, ValueError):       # the latter for a path that has a null character
        return ""
