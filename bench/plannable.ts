interface Planning {
  plan(shape: readonly number[]): unknown;
}

/** Whether the layer's algorithm, and the variant that is set, can compute the shape. */
export function canPlan(layer: Planning, shape: readonly number[]): boolean {
  try {
    layer.plan(shape);
    return true;
  } catch (error) {
    if ((error as { code?: string }).code === 'ERR_INVALID_ARG_VALUE') return false;
    throw error;
  }
}
