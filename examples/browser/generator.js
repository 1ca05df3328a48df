// Generates from a folder that `exportGenerator` wrote, with any ONNX Runtime: onnxruntime-web in a page, or another.

/**
 * Loads the models of a folder.
 *
 * @param {object} ort the module `onnxruntime-web/webgpu` (or another build of ONNX Runtime)
 * @param {string} url of the folder, ending in a slash
 * @param {object} [options]
 * @param {string[]} [options.executionProviders] the first that works is used. Default: WebGPU where the browser has it,
 *   then WebAssembly.
 */
export async function loadGenerator(ort, url, options = {}) {
  const { executionProviders = globalThis.navigator?.gpu ? ['webgpu', 'wasm'] : ['wasm'] } = options;
  const manifest = await fetchFile(`${url}generator.json`, 'json');
  const { files, cache } = manifest;
  const weights = new Uint8Array(await fetchFile(url + files.weights, 'arrayBuffer'));

  const open = async (file, provider) => {
    const model = new Uint8Array(await fetchFile(url + file, 'arrayBuffer'));
    return ort.InferenceSession.create(model, {
      executionProviders: [provider],
      logSeverityLevel: 3, // errors only
      externalData: [{ path: files.weights, data: weights }],
      // The cache goes from one call to the next without leaving the GPU.
      ...(provider === 'webgpu' && {
        preferredOutputLocation: Object.fromEntries(cache.names.map(({ output }) => [output, 'gpu-buffer'])),
      }),
    });
  };
  const failures = [];
  for (const provider of executionProviders) {
    try {
      const sessions = { prefill: await open(files.prefill, provider), decode: await open(files.decode, provider) };
      return {
        manifest,
        provider,
        failures,
        generate: (prompt, how) => generate(ort, manifest, sessions, prompt, how),
      };
    } catch (error) {
      failures.push(`${provider}: ${error.message}`);
    }
  }
  throw new Error(`No execution provider works here. ${failures.join('; ')}`);
}

/**
 * Yields the most likely token, again and again, until one ends the completion (it is yielded too), `maxTokens` are
 * there, or the cache is full.
 */
async function* generate(ort, manifest, { prefill, decode }, prompt, { maxTokens = manifest.capacity } = {}) {
  const { promptWidth, capacity, endTokens, cache } = manifest;
  if (prompt.length === 0 || prompt.length >= capacity) {
    throw new Error(`The prompt has ${prompt.length} tokens; this model takes 1 to ${capacity - 1}.`);
  }
  const int32 = (values, dims = [values.length]) => new ort.Tensor('int32', Int32Array.from(values), dims);
  const size = cache.shape.reduce((product, dim) => product * dim, 1);
  let state = {};
  for (const { input } of cache.names) state[input] = new ort.Tensor('float32', new Float32Array(size), cache.shape);
  let length = 0;

  /** Appends tokens to the cache; gives the most likely next one. */
  const extend = async (session, width, tokens) => {
    const padded = Array.from({ length: width }, (_, i) => tokens[i] ?? 0);
    const results = await session.run({
      ...state,
      tokens: int32(padded, [1, width]),
      lengths: int32([length]),
      counts: int32([tokens.length]),
    });
    for (const tensor of Object.values(state)) tensor.dispose();
    state = Object.fromEntries(cache.names.map(({ input, output }) => [input, results[output]]));
    length += tokens.length;
    return argMax(results.logits.data);
  };

  try {
    let next;
    for (let start = 0; start < prompt.length; start += promptWidth) {
      next = await extend(prefill, promptWidth, prompt.slice(start, start + promptWidth));
    }
    for (let count = 1; ; count++) {
      yield next;
      if (endTokens.includes(next) || count >= maxTokens || length + 1 >= capacity) return;
      next = await extend(decode, 1, [next]);
    }
  } finally {
    for (const tensor of Object.values(state)) tensor.dispose();
  }
}

/** Position of the first largest number. */
function argMax(numbers) {
  let best = 0;
  for (let i = 1; i < numbers.length; i++) if (numbers[i] > numbers[best]) best = i;
  return best;
}

export async function fetchFile(url, kind) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url}: ${response.status} ${response.statusText}`);
  return response[kind]();
}
