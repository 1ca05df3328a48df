// The page: a prompt, a button, and the completion as it grows. `?provider=wasm` (or webgpu) chooses where it runs.
import * as ort from 'onnxruntime-web/webgpu';
import { loadGenerator } from './generator.js';
import { loadText } from './text.js';

const element = (id) => document.getElementById(id);
const chosen = new URLSearchParams(location.search).get('provider');

// Where the server has the .wasm files; otherwise they would come from a CDN or beside the module.
ort.env.wasm.wasmPaths = new URL('/modules/onnxruntime-web/dist/', location.href).href;

async function start() {
  const started = performance.now();
  const generator = await loadGenerator(ort, '/model/', chosen ? { executionProviders: [chosen] } : {});
  const text = await loadText('/model/', generator.manifest);
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  for (const failure of generator.failures) console.info(failure);
  element('status').textContent = `Running on ${generator.provider}. Loaded in ${seconds} s.`;

  element('form').addEventListener('submit', async (event) => {
    event.preventDefault();
    element('button').disabled = true;
    const output = element('output');
    const tokens = [];
    output.textContent = '';
    delete output.dataset.tokens;
    try {
      for await (const token of generator.generate(text.encode(element('prompt').value))) {
        tokens.push(token);
        output.textContent = text.decode(tokens);
      }
      output.dataset.tokens = tokens.join(' ');
    } catch (error) {
      element('status').textContent = error.message;
    }
    element('button').disabled = false;
  });
  element('button').disabled = false;
}

start().catch((error) => {
  element('status').textContent = error.message;
});
