"""Where a self-hosted Coze Studio server differs from the cloud. Source of all of it: github.com/coze-dev/coze-studio at 4f786d6."""
