import { PosttrainError, type SamplerServer, type TokenSampleRequest } from '@posttrain/interfaces';
import { type Adapter, type CausalLM, LocalGenerator, NO_ADAPTER, sequenceLogProbs } from '@posttrain/lm';
import { loadAdapter } from '@posttrain/peft';

/** What a server that does not answer throws, as `EndpointError` does. */
export const noAnswer = (status?: number) =>
  Object.assign(new PosttrainError('OPENAI_ENDPOINT', `POST here: ${status ?? 'ECONNREFUSED'}`), { status });

/** A server of a fleet that is in this process. `before` is called before each sample: what it throws is the server's failure. */
export function localServer(
  model: CausalLM,
  given: { readonly name?: string; before?: (request: TokenSampleRequest) => void | Promise<void> } = {},
) {
  const { name = 'here', before = () => {} } = given;
  const generator = new LocalGenerator(model, { packWeights: 'at-once' });
  const adapters = new Map<string, Adapter>();
  const adapterOf = (asked: string | undefined): Adapter => {
    const found = asked === undefined ? NO_ADAPTER : adapters.get(asked);
    if (!found) throw noAnswer(404);
    return found;
  };
  const server: SamplerServer = {
    name,
    probe: async () => ({ kind: 'test', model: model.name, hasAdapters: true, hasPause: false }),
    isHealthy: async () => true,
    async sample(request) {
      await before(request);
      const { prompt, adapter, signal, ...settings } = request;
      const sampled = await generator.generate([
        {
          ...settings,
          ...{ prompt: { tokenIds: prompt, continuesText: true }, adapter: adapterOf(adapter), logProbs: true },
          ...(signal && { signal }),
        },
      ]);
      return sampled[0]!.map(({ tokenIds, logProbs, text, finishReason }) => ({
        ...{ tokenIds: tokenIds!, logProbs: logProbs!, text, finishReason },
        ...(adapter !== undefined && { weightVersion: adapter }),
      }));
    },
    async score(tokens, { adapter } = {}) {
      const [scored] = await sequenceLogProbs(model, [tokens], { adapter: adapterOf(adapter) });
      return [...scored!.logProbs];
    },
    async loadAdapter(asked, folder) {
      adapters.set(asked, await loadAdapter(model, folder));
    },
    async unloadAdapter(asked) {
      adapters.delete(asked);
    },
  };
  return { server, adapters };
}
