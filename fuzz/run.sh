#!/bin/sh
# Fuzzes every target (or those named) for SECONDS each; fails at the first crash.
# usage: fuzz/run.sh SECONDS [TARGET...]
# Builds with the stable toolchain: the coverage passes of LLVM are asked for directly.
set -eu
seconds=${1:?usage: fuzz/run.sh SECONDS [TARGET...]}
shift
cd "$(dirname "$0")"
host=$(rustc -vV | sed -n 's/^host: //p')
targets=$*
[ -n "$targets" ] || targets=$(ls fuzz_targets | sed 's/\.rs$//')

cargo run --quiet --bin seeds -- corpus

RUSTFLAGS="--cfg fuzzing -Ccodegen-units=1 -Cpasses=sancov-module \
-Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
-Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares" \
    cargo build --quiet --release --target "$host" $(printf -- '--bin %s ' $targets)

for target in $targets; do
    mkdir -p "corpus/$target" "artifacts/$target"
    echo "== $target"
    "target/$host/release/$target" "corpus/$target" -max_total_time="$seconds" -max_len=8192 \
        -timeout=10 -rss_limit_mb=2048 -artifact_prefix="artifacts/$target/" -print_final_stats=1 \
        -verbosity=0 2>"artifacts/$target/log" || { tail -40 "artifacts/$target/log"; exit 1; }
    grep -E 'number_of_executed_units|average_exec_per_sec|peak_rss' "artifacts/$target/log" || true
done
echo "no crash"
