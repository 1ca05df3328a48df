/** The server that `serving.ts` starts, over a random Llama of the given width and number of layers. */
import { createServer, localModels } from '@posttrain/serve';
import { servedRandomModel } from './serving-model.js';

const [width = 256, layers = 8] = process.argv.slice(2).map(Number);
const model = await servedRandomModel({
  hidden_size: width,
  intermediate_size: width * 4,
  num_hidden_layers: layers,
  initializer_range: 0.05,
});
const server = createServer(localModels('random', model));
process.send!({ url: await server.listen({ port: 0 }), parameters: model.storage.parameters });
process.once('SIGTERM', async () => {
  await server.drain();
  process.exit(0);
});
