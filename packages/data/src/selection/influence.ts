/** Gradients of rows that a model should do well on, at one checkpoint, as their direction. */
export interface TargetDirection {
  /** Mean over the rows of ∇ℓ / ‖∇ℓ‖. */
  readonly mean: Float64Array;
  /** Learning rate of the checkpoint, or its share of all of them. */
  readonly weight: number;
}

/** Mean of the unit vectors along gradients; a gradient of zero has no direction and adds nothing. */
export function meanDirection(gradients: readonly ArrayLike<number>[]): Float64Array {
  const mean = new Float64Array(gradients[0]?.length ?? 0);
  for (const gradient of gradients) {
    const scale = 1 / (norm(gradient) * gradients.length);
    if (Number.isFinite(scale)) for (let j = 0; j < mean.length; j++) mean[j]! += gradient[j]! * scale;
  }
  return mean;
}

/**
 * What training on a row does for the loss on others (LESS, arXiv 2402.04333, definition 3.1): Σᵢ ηᵢ cos(∇ℓ(z′; θᵢ),
 * Γ(z; θᵢ)) over checkpoints i, averaged over the rows z′ of a target. Averaging cosines is averaging unit vectors
 * first.
 *
 * @param update Γ(z; θᵢ) of the row at each checkpoint
 * @param target direction of the target at each checkpoint
 */
export function influence(update: readonly ArrayLike<number>[], target: readonly TargetDirection[]): number {
  return target.reduce((sum, { mean, weight }, i) => {
    const vector = update[i]!;
    const length = norm(vector);
    if (length === 0) return sum;
    let product = 0;
    for (let j = 0; j < mean.length; j++) product += mean[j]! * vector[j]!;
    return sum + (weight * product) / length;
  }, 0);
}

function norm(vector: ArrayLike<number>): number {
  let squares = 0;
  for (let j = 0; j < vector.length; j++) squares += vector[j]! * vector[j]!;
  return Math.sqrt(squares);
}
