# Sourced by `run` and `test`: makes $root/.venv with the project installed, or returns at once when it is.
# Sets `python`. Needs `root` (absolute) and `extras` ("" or "[test]"). Plain POSIX sh.

MINIMUM="3.11"
venv="$root/.venv"
python="$venv/bin/python"
log="$root/.venv-install.log"
lock="$root/.venv-lock"

say() { printf 'ringfence: %s\n' "$*" >&2; }

fail() {
    code=$1
    shift
    say "$*"
    exit "$code"
}

# What was installed: the requirements (by checksum), and where, because an environment cannot be moved.
wanted_stamp() { printf '%s %s\n' "$(cksum <"$root/pyproject.toml")" "$root"; }

stamp_file() { printf '%s/.ringfence-installed%s' "$venv" "$1"; }

is_ready() {
    [ -x "$python" ] || return 1
    wanted=$(wanted_stamp)
    for stamp in "$(stamp_file "$extras")" "$(stamp_file "[test]")"; do
        [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ] && return 0
    done
    return 1
}

is_recent() {
    "$1" -c "import sys; sys.exit(sys.version_info < tuple(map(int, '$MINIMUM'.split('.'))))" >/dev/null 2>&1
}

can_make_venv() { "$1" -c 'import ensurepip, venv' >/dev/null 2>&1; }

find_python() {
    without_venv=""
    for candidate in ${PYTHON:+"$PYTHON"} python3.13 python3.12 python3.11 python3 python; do
        is_recent "$candidate" || continue
        if can_make_venv "$candidate"; then
            printf '%s' "$candidate"
            return 0
        fi
        without_venv="$candidate"
    done
    if [ -n "$without_venv" ]; then
        fail 2 "$without_venv cannot make a virtual environment; install its venv package (Debian: python3-venv)"
    fi
    fail 2 "Python $MINIMUM or newer is needed and was not found; install it, or name it: PYTHON=/path/to/python"
}

# Only one call prepares; others wait for it. A lock whose owner is gone is taken over.
take_lock() {
    told=""
    until mkdir "$lock" 2>/dev/null; do
        [ -d "$root" ] && [ -w "$root" ] || fail 1 "cannot write to $root, where .venv belongs"
        owner=$(cat "$lock/pid" 2>/dev/null || true)
        if [ -n "$owner" ] && ! kill -0 "$owner" 2>/dev/null; then
            rm -rf "$lock"
            continue
        fi
        [ -n "$told" ] || say "another call is preparing .venv; waiting for it"
        told=yes
        sleep 1
    done
    echo $$ >"$lock/pid"
}

# Runs quietly, with the seconds counted up on a terminal; what it said is shown when it fails.
quietly() {
    what=$1
    shift
    "$@" >>"$log" 2>&1 </dev/null &
    worker=$!
    if [ -t 2 ]; then
        count_seconds "$what" &
        counter=$!
    fi
    code=0
    wait "$worker" || code=$?
    worker=""
    stop_counter
    if [ "$code" -ne 0 ]; then
        tail -n 20 "$log" >&2
        fail 1 "$what failed; all of it is in $log"
    fi
}

count_seconds() {
    seconds=0
    while :; do
        printf '\rringfence: %s (%s s) ' "$1" "$seconds" >&2
        sleep 1
        seconds=$((seconds + 1))
    done
}

stop_counter() {
    [ -n "$counter" ] || return 0
    kill "$counter" 2>/dev/null || true
    wait "$counter" 2>/dev/null || true
    counter=""
    printf '\r\033[K' >&2
}

give_up() {
    [ -z "$worker" ] || kill "$worker" 2>/dev/null || true
    stop_counter
    rm -rf "$lock"
    exit "$1"
}

prepare() {
    is_ready && return 0
    worker=""
    counter=""
    take_lock
    trap 'rm -rf "$lock"' EXIT
    trap 'give_up 130' INT
    trap 'give_up 143' TERM
    if ! is_ready; then
        install
    fi
    trap - EXIT INT TERM
    rm -rf "$lock"
}

install() {
    : >"$log"
    moved=""
    for stamp in "$(stamp_file "")" "$(stamp_file "[test]")"; do
        [ -f "$stamp" ] && [ "$(cut -d ' ' -f 3- "$stamp")" != "$root" ] && moved=yes
    done
    rm -f "$(stamp_file "")" "$(stamp_file "[test]")"
    if [ -n "$moved" ] || ! is_recent "$python"; then
        # Assigned on its own line, so that a failure in the subshell ends the script.
        base=$(find_python) || exit $?
        say "making .venv with $base and installing what is needed (once, a minute or so)"
        quietly "making .venv" "$base" -m venv --clear "$venv"
    else
        say "installing what is needed into .venv (once, a minute or so)"
    fi
    unset PIP_USER PIP_TARGET PIP_PREFIX PYTHONHOME
    quietly "installing" "$python" -m pip install --disable-pip-version-check --no-input -e "$root$extras"
    wanted_stamp >"$(stamp_file "$extras")"
    rm -f "$log"
}
