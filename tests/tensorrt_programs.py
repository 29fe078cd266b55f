"""Programs that stand in for those of TensorRT and of the GPU's driver: they only note what they are asked."""

TRTEXEC = """#!/usr/bin/env bash
printf '%s\\n' "&&&& RUNNING TensorRT.trtexec [TensorRT ${GREETING-v101600}] [b1] # trtexec"
for argument; do
    case $argument in
    --help) exit "${HELP_STATUS:-0}" ;;
    --saveEngine=*) plan=${argument#*=} ;;
    --exportLayerInfo=*) layers=${argument#*=} ;;
    --timingCacheFile=*) cache=${argument#*=} ;;
    esac
done
printf '%s\\n' "$@" >"$NOTES"
cat "$cache" >>"$NOTES" 2>/dev/null
if [[ -n ${FAILS:-} ]]; then
    printf 'half' >"$plan"
    printf '[11/23/2026-10:00:00] [E] %s\\nmore\\n' "$FAILS"
    exit 1
fi
printf 'a plan' >"$plan"
printf 'timed' >"$cache"
[[ -z $LAYERS ]] || printf '%s' "$LAYERS" >"$layers"
"""
NVIDIA_SMI = "#!/usr/bin/env bash\nprintf '%s' \"${GPU-NVIDIA H200}\"\n"
