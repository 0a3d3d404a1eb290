#!/bin/sh
# The paper's table: P5, POD and ELMRec, the ablations of ELMRec, the simple models, side by side.
#
#     benchmarks/family.sh data/demo --backbone tiny --negative_num 29 --batch_size 32 --max_minutes 2
#     PROTOCOL=paper benchmarks/family.sh data/beauty --cuda --batch_size 64
#
# The first argument is the data folder, all others go to each pretrain.py. The authors' α differs by
# task, so what has a graph is trained twice, and each task's row is of the model trained for it. Runs
# are written to checkpoint/<data>-<protocol>-<name>; a run that came to its end is not trained again.
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

sequential() { # name, flags of seq_reranker.py
    run=$base-$1
    shift
    "$python" seq_reranker.py "$data" --checkpoint "$run" "$@"
}

direct() { # name
    "$python" topn.py "$data" --checkpoint "$base-$1" --negative_num 99
}

by_task() { # name, flags of pretrain.py
    name=$1
    shift
    train "$name-sequential" --objective sequential "$@"
    sequential "$name-sequential"
    train "$name-direct" --objective direct "$@"
    direct "$name-direct"
}

for method in p5 pod; do # without a graph there is no α
    train $method --method $method "$@"
    sequential $method
    direct $method
done
by_task elmrec --method elmrec "$@"
# The paper's ablations, each of the task that it changes.
train position-ids --objective direct --whole_words direct=position "$@"
direct position-ids
train graph-ids --objective sequential --whole_words sequential=graph "$@"
sequential graph-ids
by_task no-propagation --L 0 "$@"
rm -rf "$base-no-reranking" && cp -r "$base-elmrec-sequential" "$base-no-reranking"
sequential no-reranking --no_rerank
# Other numbers than the protocol's.
if [ "$protocol" = clean ]; then other=published; else other=random; fi
by_task "$other-ids" --item_ids "$other" "$@"

"$python" compare.py baselines "$data"
"$python" compare.py table "$base"-* checkpoint/"$(basename "$data")"-popularity \
    checkpoint/"$(basename "$data")"-item_knn checkpoint/"$(basename "$data")"-ease
