# The private environment of this checkout, for deploy/run, deploy/test and .ci/run, which source this file
# after they have set `here` to the folder it is in. POSIX sh; uses python3, python3-venv, coreutils, flock.
#
# prepare run|test   makes .venv with pip, or brings it up to date; instant when nothing has changed.
#
# .venv/framegate-stamp is "unfinished" during an installation, afterwards a hash of what was installed from:
# what was interrupted is made anew. Two at a time wait for each other (a lock on the checkout's folder).

root=$(dirname "$here")
venv=$root/.venv
stamp=$venv/framegate-stamp
python=${PYTHON:-python3}

say() { printf 'framegate: %s\n' "$*" >&2; }

fail() {
    say "$@"
    exit 1
}

fingerprint() {
    {
        printf '%s\n' "$root"
        cat "$root/pyproject.toml" "$here/constraints.txt"
    } | sha256sum | cut -d ' ' -f 1
}

installed() { # installed run|test: is it there, and of today? What has the tests can run, too.
    [ -x "$venv/bin/framegate" ] || return 1
    case "$(cat "$stamp" 2>/dev/null)" in
    "$wanted test") return 0 ;;
    "$wanted run") [ "$1" = run ] ;;
    *) return 1 ;;
    esac
}

check_python() {
    command -v "$python" >/dev/null ||
        fail "$python is missing. On Debian or Ubuntu: apt-get install python3 python3-venv"
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        fail "Python 3.11 or newer is needed, $python is $("$python" -V 2>&1). Another one: PYTHON=python3.12 $0"
    "$python" -c 'import ensurepip, venv' 2>/dev/null ||
        fail "the venv module of $python is missing. On Debian or Ubuntu: apt-get install python3-venv"
}

make_venv() {
    check_python
    say "making a private environment in $venv (once, about a minute)"
    rm -rf "$venv"
    mkdir "$venv"
    echo unfinished >"$stamp"
    "$python" -m venv "$venv" >&2 || fail "python -m venv failed: see above"
}

install() {
    if [ ! -e "$venv" ] || [ "$(cat "$stamp" 2>/dev/null)" = unfinished ]; then
        make_venv
    elif ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
        # Python itself was upgraded, or the environment is somebody's own: only what is ours is made anew.
        [ -e "$stamp" ] || fail "$venv has no pip that works, and was not made by framegate: remove it"
        make_venv
    else
        say "bringing $venv up to date"
    fi
    [ ! -e "$stamp" ] || echo unfinished >"$stamp"
    case $1 in
    test) what='.[test]' ;;
    *) what=. ;;
    esac
    (
        cd "$root"
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-input \
            -c "$here/constraints.txt" -e "$what" </dev/null >&2
    ) || fail "the installation failed: see above. To try again, start this command again"
    echo "$wanted $1" >"$stamp"
}

prepare() {
    wanted=$(fingerprint)
    if installed "$1"; then return; fi
    exec 9<"$root"
    if ! flock --nonblock 9; then
        say "waiting for another start to finish its installation"
        flock 9
    fi
    installed "$1" || install "$1"
    exec 9<&-
}
