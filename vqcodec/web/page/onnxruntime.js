// Networks by ONNX Runtime Web: the runtime that model.js asks for.
//
// The prior's networks always run in WebAssembly, where float32 sums are exact; those that make
// pixels on the GPU, where there is one.

// ort: the module of onnxruntime-web. gpu: whether it has one to use.
export function runtimeOf(ort, gpu = false) {
  return {
    async open(bytes, isExact) {
      if (isExact || !gpu) return networkOf(ort, await start(ort, bytes, 'wasm'));
      return withFallback(
        async () => networkOf(ort, await start(ort, bytes, 'webgpu')),
        async () => networkOf(ort, await start(ort, bytes, 'wasm')),
      );
    },
  };
}

// A network on the GPU; on the CPU from the first time on that the GPU fails.
async function withFallback(onGpu, onCpu) {
  let network;
  let isGpu = true;
  const leave = async (error) => {
    console.warn(`WebGPU: ${error.message}`);
    isGpu = false;
    network = await onCpu();
  };
  try {
    network = await onGpu();
  } catch (error) {
    await leave(error);
  }
  return async (inputs) => {
    try {
      return await network(inputs);
    } catch (error) {
      if (!isGpu) throw error;
      await leave(error);
      return network(inputs);
    }
  };
}

function start(ort, bytes, provider) {
  const executionProviders = [provider];
  return ort.InferenceSession.create(bytes, {executionProviders, logSeverityLevel: 3});
}

function networkOf(ort, session) {
  return async (inputs) => {
    const feeds = {};
    for (const [name, value] of Object.entries(inputs)) feeds[name] = tensorOf(ort, value);
    const outputs = await session.run(feeds);
    return session.outputNames.map((name) => {
      const {data, dims} = outputs[name];
      return {data, dims};
    });
  };
}

// Whole numbers, one or a list, are int64.
function tensorOf(ort, value) {
  if (value.data) return new ort.Tensor('float32', value.data, value.dims);
  const whole = BigInt64Array.from([value].flat(), BigInt);
  return new ort.Tensor('int64', whole, [whole.length]);
}
