"""scikit-learn estimators that train and predict on Perceptron Service.

classifier = RemoteClassifier(base_url="http://127.0.0.1:8000").fit(X, y)
classifier.predict_proba(X)
"""

from perceptron_client.errors import PackageMissing

try:
    import sklearn as _  # noqa: F401
except ImportError as error:
    raise PackageMissing("the estimators need scikit-learn: pip install 'perceptron-client[sklearn]'") from error

from perceptron_client.sklearn.classifier import RemoteClassifier
from perceptron_client.sklearn.regressor import RemoteRegressor

__all__ = ["RemoteClassifier", "RemoteRegressor"]
