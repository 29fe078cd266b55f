#!/usr/bin/env bash
# Builds a TensorRT plan from an exported ONNX file with trtexec, for TensorRT 10.12 or newer and 11.
#
# The precision is in the ONNX file (fp16 casts, Q/DQ), the network is strongly typed, and the plan is kept only if
# trtexec's own account of its layers shows the precision that was expected. Needs bash and GNU coreutils, no Python.
set -euo pipefail

readonly OLDEST=1012 NEWEST_MAJOR=11
readonly TRTEXEC_HOME=/usr/src/tensorrt/bin/trtexec
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
readonly here settings=$here/../configs/tensorrt/default.yaml

usage() {
    cat <<'EOF'
usage: trt/convert.sh [OPTION ...] MODEL.onnx [OUT]

Writes OUT (MODEL.plan), OUT.json (what it was built from and with), OUT.layers.json (trtexec's account of its
layers) and OUT.log. Values that are not given come from configs/tensorrt/default.yaml.

  --precision fp32|fp16|int8   what the plan must turn out to be; the ONNX file carries it
  --min-batch N, --opt-batch N, --max-batch N
                               clips at once: the least, the number to be fast at, the most
  --builder-level 0..5         how long the builder searches
  --timing-cache FILE          what the builder has timed before (timing.cache beside OUT)
  --image IMAGE                build inside this container image, the one that will serve the plan
  --dry-run                    print the command of trtexec, and do nothing
  --check                      say whether a plan can be built here, and build none
  -h, --help                   this text
EOF
}

die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# The value of a plain line `key: value` in the configuration; nothing for null.
setting() {
    [[ -f $settings ]] || return 0
    sed -n "s/^$1: *\([^# ]*\).*/\1/p" "$settings" | sed 's/^null$//'
}

# The model's length in samples, from the metadata that `kws export` writes: protobuf has the key, two bytes, the value.
clip_samples() {
    LC_ALL=C grep -a -o 'clip_samples..[1-9][0-9]*' "$1" | LC_ALL=C sed 's/^clip_samples..//' | head -n 1
}

# A text as JSON writes it.
json() {
    local text=${1//\\/\\\\}
    printf '"%s"' "${text//\"/\\\"}"
}

read_arguments() {
    precision='' min_batch='' opt_batch='' max_batch='' builder_level='' timing_cache='' image='' mode=build
    local names=()
    while (($#)); do
        case $1 in
        --precision | --min-batch | --opt-batch | --max-batch | --builder-level | --timing-cache | --image)
            (($# > 1)) || die "$1 needs a value: see trt/convert.sh --help"
            local name=${1#--}
            printf -v "${name//-/_}" '%s' "$2"
            shift
            ;;
        --dry-run) mode=dry-run ;;
        --check) mode=check ;;
        -h | --help)
            usage
            exit 0
            ;;
        --)
            shift
            names+=("$@")
            break
            ;;
        -*) die "there is no option $1: see trt/convert.sh --help" ;;
        *) names+=("$1") ;;
        esac
        shift
    done
    ((${#names[@]} == 1 || ${#names[@]} == 2)) ||
        die "expected MODEL.onnx and perhaps OUT, got ${#names[@]} names: see trt/convert.sh --help"
    model=${names[0]} out=${names[1]:-${names[0]%.onnx}.plan}
    local key
    for key in precision min_batch opt_batch max_batch builder_level timing_cache image; do
        [[ -n ${!key} ]] || printf -v "$key" '%s' "$(setting "$key")"
    done
}

check_arguments() {
    [[ -f $model && -r $model ]] || die "$model is not a file that can be read: give a model.onnx made by \`kws export\`"
    samples=$(clip_samples "$model") || samples=''
    [[ -n $samples ]] || die "$model is not a keyword spotter exported by \`kws export\`: export one first"
    [[ ! -d $out ]] || die "$out is a folder: name a file, such as $out/model.plan"
    [[ ! $out -ef $model && $out != *.onnx ]] || die "$out would take the place of an ONNX file: name another one"
    [[ $precision =~ ^(fp32|fp16|int8)$ ]] || die "precision must be fp32, fp16 or int8, got '$precision'"
    local key
    for key in min_batch opt_batch max_batch; do
        [[ ${!key} =~ ^[1-9][0-9]{0,5}$ ]] || die "$key must be a whole number of 1 or more, got '${!key}'"
    done
    ((min_batch <= opt_batch && opt_batch <= max_batch)) ||
        die "expected min_batch <= opt_batch <= max_batch, got $min_batch, $opt_batch, $max_batch"
    [[ -z $timing_cache || ! -d $timing_cache && -w $(dirname -- "$timing_cache") ]] ||
        die "timing_cache must be a file in a folder that can be written to, got $timing_cache"
    [[ -z $image || $model$out != *,* ]] ||
        die "docker cannot mount a path with a comma, such as that of $model or $out: rename it, or leave --image out"
    [[ $builder_level =~ ^[0-5]$ ]] || die "builder_level must be a whole number of 0 to 5, got '$builder_level'"
}

# How trtexec is started, as the array `trtexec`. Inside a container, that of the image, which sees two folders.
find_trtexec() {
    if [[ -n $image ]]; then
        trtexec=(docker run --rm --gpus all --network none --user "$(id -u):$(id -g)"
            --mount "type=bind,source=$(realpath -- "$model"),target=/model.onnx,readonly"
            --mount "type=bind,source=$(realpath -m -- "$work"),target=/plan"
            --entrypoint "$TRTEXEC_HOME" "$image")
    else
        trtexec=("$(command -v trtexec || echo "$TRTEXEC_HOME")")
    fi
}

# Everything is written to the folder $work and renamed at the end. TF32 would round the front-end to 10 bits.
build_arguments() {
    local from=$model to=$work
    [[ -z $image ]] || from=/model.onnx to=/plan
    arguments=("--onnx=$from" "--saveEngine=$to/$plan" --stronglyTyped --noTF32
        "--minShapes=waveform:${min_batch}x$samples"
        "--optShapes=waveform:${opt_batch}x$samples"
        "--maxShapes=waveform:${max_batch}x$samples"
        "--builderOptimizationLevel=$builder_level"
        "--timingCacheFile=$to/timing.cache"
        --profilingVerbosity=detailed "--exportLayerInfo=$to/$plan.layers.json")
}

check_machine() {
    command -v nvidia-smi >/dev/null ||
        die "no NVIDIA GPU here (nvidia-smi is not installed): run this on the machine that will serve the plan"
    gpu=$(nvidia-smi --query-gpu=name --format=csv,noheader 2>/dev/null | head -n 1) || gpu=''
    [[ -n $gpu ]] || die "no NVIDIA GPU here (nvidia-smi finds none): run this on the machine that will serve the plan"
    if [[ -n $image ]]; then
        command -v docker >/dev/null || die "--image needs docker, which is not installed: install it, or leave --image out"
    else
        [[ -x ${trtexec[0]} ]] ||
            die "no trtexec on PATH or at $TRTEXEC_HOME: install TensorRT, or name a container with --image"
    fi
}

# trtexec begins with `[TensorRT v101600]`, some builds with `[TensorRT v10.16.0.72]`.
check_version() {
    local greeting digits
    greeting=$("${trtexec[@]}" --help 2>&1) || die "${trtexec[*]} does not run: $(tail -n 1 <<<"$greeting")"
    digits=$(grep -o -m 1 'TensorRT v[0-9.]*' <<<"$greeting" | head -n 1) || digits=''
    digits=${digits#TensorRT v}
    if [[ $digits =~ ^([0-9]+)\.([0-9]+)\.([0-9]+) ]]; then
        version=${BASH_REMATCH[1]}.${BASH_REMATCH[2]}.${BASH_REMATCH[3]}
    elif [[ $digits =~ ^([0-9]{1,2})([0-9]{2})([0-9]{2})$ ]]; then
        version=$((10#${BASH_REMATCH[1]})).$((10#${BASH_REMATCH[2]})).$((10#${BASH_REMATCH[3]}))
    else
        die "$(basename "${trtexec[0]}") does not tell its version (expected [TensorRT v...]): use that of TensorRT 10.12 or newer"
    fi
    local major minor rest
    IFS=. read -r major minor rest <<<"$version"
    ((major * 100 + minor >= OLDEST && major <= NEWEST_MAJOR)) ||
        die "expected TensorRT 10.12 or newer, up to $NEWEST_MAJOR, found $version: install another, or name a container with --image"
}

# How many tensors of a type the layer information names. Where shapes are dynamic TensorRT may name only weights.
count_types() {
    grep -oE '"(Format/Datatype|DataType|Format|Type)": *"[^"]*"' "$work/$plan.layers.json" | grep -ciE "$1" || true
}

check_precision() {
    [[ -s $work/$plan.layers.json ]] || die "trtexec wrote no layer information: the precision cannot be verified, $out is left as it was"
    local float half int8
    float=$(count_types 'fp32|"float"') half=$(count_types 'fp16|"half"') int8=$(count_types 'int8')
    found="$float fp32, $half fp16, $int8 int8"
    case $precision in
    fp32) ((float > 0 && half == 0 && int8 == 0)) ;;
    fp16) ((half > 0 && int8 == 0)) ;;
    int8) ((int8 > 0)) ;;
    esac || die "expected a plan of $precision, its layers are $found: export the ONNX file with that precision; $out is left as it was"
}

build() {
    cache=${timing_cache:-$(dirname -- "$out")/timing.cache}
    [[ ! -f $cache ]] || cp -- "$cache" "$work/timing.cache"
    echo "building $out with TensorRT $version on $gpu" >&2
    if ! "${trtexec[@]}" "${arguments[@]}" >"$work/log" 2>&1; then
        mv -- "$work/log" "$out.log"
        local reason
        reason=$(grep -m 1 '\[E\]' "$out.log" || tail -n 1 "$out.log")
        die "trtexec failed (${reason##*\[E\] }): see $out.log; $out is left as it was"
    fi
    [[ -s $work/$plan ]] || die "trtexec wrote no plan: $out is left as it was"
    check_precision
}

describe_plan() {
    local onnx
    onnx=$(realpath --relative-to="$(dirname -- "$out")" -- "$model")
    printf '{"onnx": %s, "onnx_sha256": "%s", "plan_sha256": "%s", "precision": "%s", "layers": "%s",' \
        "$(json "$onnx")" "$(sha256sum <"$model" | cut -d ' ' -f 1)" \
        "$(sha256sum <"$work/$plan" | cut -d ' ' -f 1)" "$precision" "$found"
    printf ' "tensorrt": "%s", "gpu": %s, "batch": [%s, %s, %s]}\n' \
        "$version" "$(json "$gpu")" "$min_batch" "$opt_batch" "$max_batch"
}

keep() {
    describe_plan >"$work/facts"
    mv -- "$work/log" "$out.log"
    mv -- "$work/$plan.layers.json" "$out.layers.json"
    [[ ! -f $work/timing.cache ]] || mv -- "$work/timing.cache" "$cache"
    mv -- "$work/$plan" "$out"
    mv -- "$work/facts" "$out.json"
    echo "$out: $(stat -c %s -- "$out") bytes, $precision (tensors of the layers: $found)"
}

main() {
    read_arguments "$@"
    check_arguments
    work=$(dirname -- "$out") plan=$(basename -- "$out")
    if [[ $mode == build ]]; then
        mkdir -p -- "$work" 2>/dev/null || die "$work cannot be made: choose another place"
        work=$(mktemp -d -- "$work/.convert.XXXXXX" 2>/dev/null) ||
            die "$(dirname -- "$out") cannot be written to: choose another place"
        trap 'rm -rf -- "$work"' EXIT
    fi
    find_trtexec
    build_arguments
    if [[ $mode == dry-run ]]; then
        printf '%q ' "${trtexec[@]}" "${arguments[@]}"
        echo
        exit
    fi
    check_machine
    check_version
    if [[ $mode == check ]]; then
        echo "TensorRT $version on $gpu"
        exit
    fi
    build
    keep
}

main "$@"
