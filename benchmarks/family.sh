#!/bin/sh
# The paper's table: P5, POD and ELMRec, the ablations of ELMRec, the simple models, side by side.
#
#     benchmarks/family.sh data/demo --backbone tiny --negative_num 29 --batch_size 32 --max_minutes 2
#     PROTOCOL=paper benchmarks/family.sh data/beauty --cuda --batch_size 64
#
# The first argument is the data folder, all others go to each pretrain.py. Runs are written to
# checkpoint/<data>-<protocol>-<name>; a run that came to its end is not trained again.
set -eu
data=$1
shift
python=${PYTHON:-python}
protocol=${PROTOCOL:-clean}
base=checkpoint/$(basename "$data")-$protocol

train() { # name, flags of pretrain.py
    run=$base-$1
    shift
    if [ ! -f "$run/report.html" ]; then
        "$python" pretrain.py "$data" --protocol "$protocol" --checkpoint "$run" --overwrite "$@"
    fi
}

evaluate() { # name, flags of seq_reranker.py
    run=$base-$1
    shift
    "$python" seq_reranker.py "$data" --checkpoint "$run" "$@"
    "$python" topn.py "$data" --checkpoint "$run" --negative_num 99
}

train p5 --method p5 "$@"
evaluate p5
train pod --method pod "$@"
evaluate pod
train elmrec --method elmrec "$@"
evaluate elmrec
# The paper's ablations.
train position-ids --whole_words direct=position "$@"
evaluate position-ids
train graph-ids --whole_words sequential=graph "$@"
evaluate graph-ids
train no-propagation --L 0 "$@"
evaluate no-propagation
rm -rf "$base-no-reranking" && cp -r "$base-elmrec" "$base-no-reranking"
evaluate no-reranking --no_rerank
# Other numbers than the protocol's.
if [ "$protocol" = clean ]; then other=published; else other=random; fi
train "$other-ids" --item_ids "$other" "$@"
evaluate "$other-ids"

"$python" compare.py baselines "$data"
"$python" compare.py table "$base"-* checkpoint/"$(basename "$data")"-popularity \
    checkpoint/"$(basename "$data")"-item_knn checkpoint/"$(basename "$data")"-ease
