#!/bin/bash
# Everything that only a GPU can answer, in one go: the CUDA tests, training against TRL, answers against transformers,
# resuming after a kill.
# Run from the root, with requirements-cuda.txt and bench/requirements.txt installed: bash bench/cuda_checks.sh [folder]
# Each part runs whatever became of the one before it; what they print is in [folder] (cuda_checks), too. At most 10 minutes.
set -u
out=${1:-cuda_checks}
mkdir -p "$out"
failed=0
check() {
    local name=$1 limit=$2
    shift 2
    echo "== $name: $*"
    timeout "$limit" "$@" 2>&1 | tee "$out/$name.txt"
    local code=${PIPESTATUS[0]}
    echo "== $name: exit code $code"
    [ "$code" -eq 0 ] || failed=1
}
check tests 120 python -m pytest -n 0 -q --no-header tests/netllama/training/test_cuda.py tests/netllama/scoring/test_graph_decoding.py
check speed 240 python -m bench.train_cuda --check --seconds 210
check answers 100 python -m bench.write_cuda --check --seconds 60
check resume 130 python -m bench.resume_cuda --shape "${RESUME_SHAPE:-13B}"
exit $failed
