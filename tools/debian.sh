# Packages of any Debian release, for any of its machines, fetched and unpacked but not installed:
# no root, no chroot. A script sources this file and calls, in a folder of its own,
#
#     private_apt KINDS MACHINES RELEASE...     # for example "deb deb-src" "amd64 arm64" trixie
#     apt-get download PACKAGE...               # or: apt-get source --download-only PACKAGE
#
# It needs the package debian-archive-keyring.

private_apt() {
    local kinds=$1 machines=$2 keys=/usr/share/keyrings/debian-archive-keyring.gpg kind release
    shift 2
    mkdir -p apt/lists/partial apt/cache/archives/partial
    for release; do
        for kind in $kinds; do
            echo "$kind [signed-by=$keys] http://deb.debian.org/debian $release main"
        done
    done >apt/sources.list
    : >apt/status       # nothing is installed: every dependency will be fetched
    cat >apt/conf <<CONF
APT::Architecture "${machines%% *}";
APT::Architectures { $(printf '"%s"; ' $machines)};
APT::Sandbox::User "";
Acquire::Languages "none";
Dir::Cache "$PWD/apt/cache";
Dir::Etc::sourcelist "$PWD/apt/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::State "$PWD/apt";
Dir::State::lists "$PWD/apt/lists";
Dir::State::status "$PWD/apt/status";
CONF
    export APT_CONFIG=$PWD/apt/conf
    apt-get -qq update
}
