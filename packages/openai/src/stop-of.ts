/**
 * The stop string that ended a choice: vLLM's `stop_reason`, SGLang's `matched_stop` (both have the id of a stop token there,
 * or null, for the model's own end), and of text-generation-inference the reason itself. `null`: none did. `undefined`: the
 * server does not say, and the choice may have ended either way; or none was asked for.
 */
export function stopOf(choice: Readonly<Record<string, unknown>>, stops: readonly string[]): string | null | undefined {
  const { finish_reason: reason } = choice;
  if (stops.length === 0) return undefined;
  if (reason === 'length' || reason === 'abort' || reason === 'eos_token') return null;
  const said = choice.stop_reason ?? choice.matched_stop;
  if (typeof said === 'string' && stops.includes(said)) return said;
  if (reason === 'stop_sequence' && stops.length === 1) return stops[0];
  return 'stop_reason' in choice || 'matched_stop' in choice ? null : undefined;
}
