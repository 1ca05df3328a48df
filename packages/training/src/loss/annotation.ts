/** An annotation as a loss declares it. A name alone is one float32 a prediction. */
export type Annotation = string | AnnotationSpec;

/** An annotation as it is declared: its name, what it belongs to, its width and dtype. */
export interface AnnotationSpec {
  readonly name: string;
  /** `prediction`: entry t belongs to predicting token t + 1. `row`: one for the whole row. */
  readonly per: 'prediction' | 'row';
  /**
   * Numbers in each entry, which stand one after the other in the row's array. The tensor then has one more axis, of this
   * length. Left out: one, and no axis.
   */
  readonly width?: number;
  /** Default `float32`. */
  readonly dtype?: 'float32' | 'int32';
  /** What a number may be, both ends included; rows with another are refused. Left out: anything finite. */
  readonly range?: readonly [least: number, most: number];
}

/** The full form of an annotation. */
export const annotationSpec = (annotation: Annotation): AnnotationSpec =>
  typeof annotation === 'string' ? { name: annotation, per: 'prediction' } : annotation;
