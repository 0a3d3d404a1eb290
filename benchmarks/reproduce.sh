#!/bin/sh
# The published experiment: data, both trainings, the three tests, the table beside the paper's.
#
#     make reproduce DATA=beauty CUDA=1
#     DATA=data/beauty LIMIT=5m FLAGS="--backbone mini" benchmarks/reproduce.sh
#
# DATA: beauty, sports, toys (downloaded where data/<name> is not there), demo, or a data folder.
# CUDA: not empty: on a GPU. LIMIT: minutes a training at most; the tests then take 200 users.
# FLAGS: further flags of both trainings. Each command is printed, and can be run by hand. What is
# done already is not done again: an interrupted training goes on.
set -eu
DATA=${DATA:-beauty} CUDA=${CUDA:+--cuda} LIMIT=${LIMIT:-} FLAGS=${FLAGS:-}
python=${PYTHON:-python}

say() { # a command, printed and run
    echo "\$ $*"
    "$@"
}

data=$DATA
if [ ! -d "$data" ]; then
    data=data/$DATA
    [ -d "$data" ] || say "$python" -m modules.preparation.download "$DATA"
fi
name=$(basename "$data")
base=checkpoint/reproduce-$name
short="" negatives=""
if [ -n "$LIMIT" ]; then
    FLAGS="$FLAGS --max_minutes ${LIMIT%m}"
    short="--limit_users 200"
fi
if [ "$name" = demo ]; then # 120 items, and no pre-trained weights are asked for
    FLAGS="--backbone tiny --negative_num 29 --batch_size 32 --epochs 5 $FLAGS"
    negatives="--negative_num 99"
fi
[ -f "$data/explanation.json" ] || FLAGS="--tasks sequential,direct $FLAGS"

for objective in direct sequential; do # the authors' α differs by the task
    run=$base-$objective
    row=$("$python" -c "from modules.presets import published_row as row
found, _ = row('readme', '$name', '$objective')
print('--alpha', found.alpha, '--sigma', found.sigma, '--L', found.layers)")
    on=""
    [ ! -d "$run/state" ] || on=--resume
    [ -f "$run/report.html" ] || say "$python" pretrain.py "$data" --as_published $row \
        --objective "$objective" --checkpoint "$run" $CUDA $FLAGS $on
done

how="--decode published --batch_size 16 $CUDA $short"
say "$python" seq_reranker.py "$data" --checkpoint "$base-sequential" $how
say "$python" topn.py "$data" --checkpoint "$base-direct" $how $negatives
[ ! -f "$data/explanation.json" ] ||
    say "$python" exp.py "$data" --checkpoint "$base-direct" $how
say "$python" compare.py table "$base-direct" "$base-sequential"
